"""One task of a remote worker: from what the service gave it to what is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine import jsontext
from programs.catalogue import Catalogue
from programs.contract import Call, Stopped
from programs.errors import BadOutcome, ParameterError
from programs.invoke import invoke
from programs.outcomes import Outcome
from watcher import capture, masking
from watcher.executors import crossing
from watcher.lazy import LazyMapping, LazySequence
from watcher.secrets import NO_SECRETS, Secrets

Ask = Callable[[Mapping[str, Any], str], Any]
"""Reads `results`, `upstream` or `arrivals` of a claim from the service."""
MAX_PENDING = 131_072


class Unreadable(Exception):
    """What a program asked of its flow could not be read: the service is away, not the program."""


class LiveLog(capture.Transcript):
    """The log of a try, taken away in parts while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self._pending: list[str] = []
        self._chars = 0
        self._guard = threading.Lock()

    def add(self, line: str) -> None:
        line = masking.cut(line, capture.MAX_LINE)
        with self._guard:
            if self._chars < MAX_PENDING:
                self._pending.append(line)
                self._chars += len(line) + 1

    def put_back(self, part: str) -> None:
        """The part could not be sent: it comes first in the next one."""
        with self._guard:
            self._pending.insert(0, part.removesuffix("\n"))
            self._chars += len(part)

    def part(self) -> str | None:
        """What was logged since the last part."""
        with self._guard:
            lines, self._pending, self._chars = self._pending, [], 0
        return jsontext.clean_text("\n".join(lines) + "\n", MAX_PENDING) if lines else None


@dataclass(eq=False)
class Held:
    """A task that this worker holds."""

    work: Mapping[str, Any]
    stop: threading.Event = field(default_factory=threading.Event)
    log: LiveLog = field(default_factory=LiveLog)
    begun_at: float = field(default_factory=time.monotonic)
    answered: threading.Lock = field(default_factory=threading.Lock)
    """Held by whoever answers for it: the program, or its time limit."""
    telling: threading.Lock = field(default_factory=threading.Lock)
    """Held while a part of the log is on its way: it must be there before the answer is."""

    @property
    def claim(self) -> Mapping[str, Any]:
        claim: Mapping[str, Any] = self.work["claim"]
        return claim

    @property
    def key(self) -> str:
        return f"{self.claim['claim_id']}/{self.claim['exec_seq']}/{self.claim['flow_id']}"

    def is_overdue(self) -> bool:
        limit = self.work["timeout_s"]
        return limit is not None and time.monotonic() > self.begun_at + limit


def answer_of(
    held: Held,
    catalogue: Catalogue,
    ask: Ask,
    secrets: Secrets = NO_SECRETS,
    http_networks: tuple[str, ...] = (),
) -> dict[str, Any]:
    """What becomes of the task, as the service takes it, whatever the program does. Never raises."""
    with capture.speaking(held.log):
        try:
            answer = _said(_outcome(held, catalogue, ask, secrets, http_networks))
        except BaseException as error:  # SystemExit of a program ends its task, not the worker
            answer = _after_error(error)
    return {"claim": held.claim, **answer}


def timed_out(held: Held) -> dict[str, Any]:
    words = f"it did not end within {held.work['timeout_s']:g} seconds"
    return {"claim": held.claim, "outcome": "fail", "error": words, "timed_out": True}


def released(held: Held) -> dict[str, Any]:
    return {"claim": held.claim, "outcome": "release"}


def _outcome(held: Held, catalogue: Catalogue, ask: Ask, secrets: Secrets, http_networks: tuple[str, ...]) -> Outcome:
    work, claim = held.work, held.claim
    entry = catalogue.get(work["program"])
    if entry is None:
        raise Unreadable("the service gave out what was not asked for")
    undeclared = set(work["from_flow"]) - entry.schema.get("properties", {}).keys()
    params, _ = secrets.filled(work["parameters"], work["secrets"])
    call = Call(
        flow_id=claim["flow_id"],
        exec_seq=claim["exec_seq"],
        task_id=work["task_id"],
        task_seq=work["task_seq"],
        program=entry.program.name,
        attempt=claim["attempt"],
        claim_id=claim["claim_id"],
        fence=work["fence"],
        params={name: value for name, value in params.items() if name not in undeclared},
        flow_parameters=work["flow_parameters"],
        results=LazyMapping(lambda: {int(seq): found for seq, found in ask(claim, "results").items()}),
        upstream=LazySequence(lambda: ask(claim, "upstream")),
        arrivals=LazySequence(lambda: crossing.arrivals_in(ask(claim, "arrivals"))),
        logger=capture.task_logger(),
        stop=held.stop,
        http_networks=http_networks,
    )
    return invoke(entry.program, call)


def _said(outcome: Outcome) -> dict[str, Any]:
    """The outcome as the service reads it. Errors: NoJSON."""
    *pieces, last = crossing.outgoing(outcome)
    said = {name: value for name, value in last.items() if value is not None}
    if last["outcome"] == "plan":
        said["tasks"] = list(_tasks(pieces))
    if "result" in said:
        said["result"] = masking.masked_result(said["result"])
    if last["outcome"] == "fail":
        said["error"] = masking.mask(last["error"]) or "it says no reason"
    return said


def _tasks(pieces: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for piece in pieces:
        for task in piece["tasks"]:
            yield {name: value for name, value in task.items() if value is not None}


def _after_error(error: BaseException) -> dict[str, Any]:
    match error:
        case Stopped() | Unreadable():
            return {"outcome": "release"}
        case ParameterError():
            return _failure(error, refused="bad parameters")
        case BadOutcome() | crossing.NoJSON():
            return _failure(error, refused="bad result")
    return {**_failure(error), "traceback": masking.mask(capture.trace(error))}


def _failure(error: BaseException, **more: Any) -> dict[str, Any]:
    words = masking.mask(capture.one_line(error, bare="refused" in more))
    return {"outcome": "fail", "error": words or type(error).__name__, **more}
