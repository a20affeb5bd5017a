"""Many registrations: lines of JSON, some at a time, so that a request whose answer was lost can be sent again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine import jsontext
from engine.ids import new_claim_id
from penstock.doors.door import Document, Door
from penstock.doors.problems import Problem, Unavailable
from penstock.models import ManyRegistered, Refusal
from penstock.sdk.asking import Request
from penstock.sdk.errors import unfit

TOGETHER: Final = 1_000
MAX_BYTES: Final = 8 * 1024 * 1024
"""Of one request: no more than this is kept to be sent again."""
MAX_TOLD: Final = 100
OF_THE_CALLER: Final = frozenset({401, 403, 413})
"""What is refused not because of a registration, but of who asks or how."""


def requests(registrations: Iterable[Mapping[str, Any]], key: str | None) -> Iterator[list[bytes]]:
    """The lines of one request after the other. Errors: BadRequest for what is no JSON, with its place."""
    lines: list[bytes] = []
    size, made_up = 0, key or f"client-{new_claim_id()}"
    for place, registration in enumerate(registrations):
        line = _line(registration, place, f"{made_up}/{place}")
        if lines and (len(lines) == TOGETHER or size + len(line) > MAX_BYTES):
            yield lines
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield lines


def _line(registration: Mapping[str, Any], place: int, key: str) -> bytes:
    try:
        told = {name: value for name, value in dict(registration).items() if value is not None}
        return jsontext.dumps({"idempotency_key": key} | told).encode()
    except (jsontext.NotJSON, TypeError, ValueError) as error:
        raise unfit("registrations", f"number {place} (from 0) {error}") from error


def request(task_id: str, lines: list[bytes]) -> Request[Document]:
    """To make these flows, or to be told which are there already."""

    def of(door: Door) -> Any:
        return door.register_many(task_id, lines)

    return Request(of, _read)


def _read(answer: Document) -> Document:
    """Errors: Unavailable where nobody knows what became of one of them: all are asked for again."""
    for problem in answer["problems"]:
        if problem["code"] >= 500:
            raise Unavailable(_kind(problem), problem["code"], problem["detail"], problem)
    return answer


@dataclass
class Tally:
    """What has become of the registrations so far."""

    flow_ids: list[str | None] = field(default_factory=list)
    problems: list[Refusal] = field(default_factory=list)

    def add(self, answer: Document) -> None:
        begun = len(self.flow_ids)
        self.flow_ids += answer["task_flow_ids"]
        for one in answer["problems"]:
            self._tell(begun + one["index"], _kind(one), one["detail"])

    def refuse(self, count: int, problem: Problem) -> None:
        """None of these was made. Errors: the problem itself, if it was not one of single registrations, or if none at
        all has been made yet."""
        if problem.code in OF_THE_CALLER or not any(self.flow_ids):
            raise problem
        self._tell(len(self.flow_ids), problem.kind, problem.detail)
        self.flow_ids += [None] * count

    def total(self) -> ManyRegistered:
        refused = self.flow_ids.count(None)
        return ManyRegistered(
            registered=len(self.flow_ids) - refused,
            refused=refused,
            task_flow_ids=tuple(self.flow_ids),
            problems=tuple(self.problems),
        )

    def _tell(self, index: int, kind: str, detail: str) -> None:
        if len(self.problems) < MAX_TOLD:
            self.problems.append(Refusal(index=index, kind=kind, detail=detail))


def _kind(problem: Mapping[str, Any]) -> str:
    return str(problem["type"]).rpartition(":")[2]
