"""Register many flows of one workflow through a door, some hundred in each request."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import click

from engine import jsontext
from engine.errors import PenstockError
from penstock.doors.door import Document, Door
from penstock.doors.problems import URN
from penstock.sdk.errors import as_problem
from penstock.sdk.patience import PATIENCE_S, may_repeat, pauses

TOGETHER: Final = 200
MAX_TOLD: Final = 100
"""Problems that are told in full; the others are counted."""
_NAMES: Final = {"runKey": "run_key", "idempotencyKey": "idempotency_key"}
"""As Flower's path calls them."""
_OF_THE_CALLER: Final = frozenset({0, 401, 403, 404})


@dataclass
class Tally:
    """What became of the registrations, in their order."""

    flow_ids: list[str | None] = field(default_factory=list)
    """None where there is a problem."""
    problems: list[Document] = field(default_factory=list)
    """The first problems, each with its place, from 0, as `index`."""
    error: PenstockError | None = None
    """The first by which none of a request was made."""
    is_cut: bool = False
    """It made no sense to ask for the rest."""

    @property
    def refused(self) -> int:
        return self.flow_ids.count(None)

    @property
    def registered(self) -> int:
        return len(self.flow_ids) - self.refused

    def add(self, answer: Document) -> None:
        begun = len(self.flow_ids)
        self.flow_ids += answer["task_flow_ids"]
        for problem in answer["problems"]:
            self._tell({**problem, "index": begun + problem["index"]})

    def refuse(self, count: int, error: PenstockError) -> None:
        """None of so many was made."""
        problem = as_problem(error)
        about = {"type": URN + problem.kind, "code": problem.code, "detail": problem.detail, **problem.members}
        self._tell({"index": len(self.flow_ids), **about})
        self.flow_ids += [None] * count
        self.error = self.error or error
        self.is_cut = problem.code in _OF_THE_CALLER or problem.code >= 500 or problem.kind == "too-many-requests"

    def document(self, task_id: str) -> Document:
        """As `POST /register/{task_id}` answers for many."""
        return {
            "status": "failed" if self.refused else "succeeded",
            "taskId": task_id,
            "registered": self.registered,
            "refused": self.refused,
            "taskFlowIds": self.flow_ids,
            "problems": self.problems,
        }

    def _tell(self, problem: Document) -> None:
        if len(self.problems) < MAX_TOLD:
            self.problems.append(problem)


def register_many(
    door: Door,
    task_id: str,
    registrations: Iterable[bytes | Mapping[str, Any]],
    key: str | None,
    show: Callable[[int], None],
) -> Tally:
    """Make a flow for each line or object; `show` is told how many are through. With a key, each has one of its own, by
    its place: `key/0`, `key/1` ... Errors: none, they are in the tally."""
    tally = Tally()
    left = enumerate(registrations)
    while not tally.is_cut and (part := list(itertools.islice(left, TOGETHER))):
        lines = [_line(each, None if key is None else f"{key}/{place}") for place, each in part]
        try:
            tally.add(_asked(door, task_id, lines, is_repeatable=key is not None))
        except PenstockError as error:
            tally.refuse(len(lines), error)
        show(len(tally.flow_ids))
    return tally


def _line(registration: bytes | Mapping[str, Any], key: str | None) -> bytes:
    """As the API takes it. What is no JSON goes on as it is: the door says what is wrong with it."""
    if isinstance(registration, bytes):
        line = registration.strip()
        try:
            registration = jsontext.loads_object(line.decode())
        except (jsontext.NotJSON, UnicodeDecodeError):
            return line
    told = {_NAMES.get(name, name): value for name, value in registration.items() if value is not None}
    return jsontext.dumps(told if key is None else {"idempotency_key": key, **told}).encode()


def _asked(door: Door, task_id: str, lines: list[bytes], *, is_repeatable: bool) -> Document:
    """Asked again for some time, where that does no harm and may help."""
    left = pauses(PATIENCE_S)
    while True:
        try:
            return door.register_many(task_id, lines)
        except PenstockError as error:
            pause = next(left, None) if may_repeat(error, is_repeatable) else None
            if pause is None:
                raise
        time.sleep(pause)


def lines_of(path: str) -> Iterator[bytes]:
    """The lines of a file, or of standard input for `-`, without those that are blank. Errors: click's, by name."""
    with click.open_file(path, "rb") as source:
        for line in source:
            if line.strip():
                yield line


def report(tally: Tally, took_s: float) -> None:
    """The ids on standard output, one on each line; what else there is to say beside it."""
    from penstock.output import say

    say("".join(f"{flow_id}\n" for flow_id in tally.flow_ids if flow_id is not None), nl=False)
    for problem in tally.problems:
        say(f"penstock: number {problem['index'] + 1}: {problem['detail']}", err=True)
    rate = tally.registered / max(took_s, 0.001)
    words = f"{tally.registered:,} registered in {took_s:.1f} s ({rate:,.0f}/s)"
    words += f", {tally.refused:,} refused" if tally.refused else ""
    say(words + (", the rest not asked for" if tally.is_cut else ""), err=True)
