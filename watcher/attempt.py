"""One execution of one task, step by step: find the program, check the parameters, run, and read the answer.

This is the one place that catches everything: whatever a program does becomes a settlement, and the watcher lives on.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from engine import jsontext
from engine.claim import ClaimedTask
from engine.errors import PenstockError
from engine.settle import Settlement
from engine.states import Reason
from programs.catalogue import Catalogue, Entry
from programs.contract import Again, Call, Fail, Finish, Outcome, Stopped
from programs.errors import BadOutcome, ParameterError
from programs.invoke import invoke
from watcher import capture

ReadResults = Callable[[str], Mapping[int, Any]]
MAX_ERROR_CHARS = 4_000


class Refused(Exception):
    """The row cannot be run as it stands: a person must repair it."""

    def __init__(self, reason: str, words: str) -> None:
        self.reason = reason
        self.words = words
        super().__init__(words)


class Results(Mapping[int, Any]):
    """What the earlier tasks of the flow returned, read from the database when a program first asks."""

    def __init__(self, flow_id: str, read: ReadResults) -> None:
        self._flow_id = flow_id
        self._read = read

    @cached_property
    def _found(self) -> Mapping[int, Any]:
        return self._read(self._flow_id)

    def __getitem__(self, seq: int) -> Any:
        return self._found[seq]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def run(task: ClaimedTask, catalogue: Catalogue, read_results: ReadResults, stop: threading.Event) -> Settlement:
    """Execute the task and say how to settle it. Never raises."""
    with capture.transcript() as log:
        try:
            settlement = _settlement(task, _execute(task, catalogue, read_results, stop))
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a program end its task, not the watcher
            settlement = _after_error(task, error)
    return _with_log(settlement, log.text())


def released(task: ClaimedTask) -> Settlement:
    """Hand a task back that was not begun, or was interrupted: it does not count as a try."""
    return Settlement(task, "release")


def _execute(task: ClaimedTask, catalogue: Catalogue, read_results: ReadResults, stop: threading.Event) -> Outcome:
    entry = catalogue.get(task.program or "")
    if entry is None:
        raise Refused(Reason.UNKNOWN_PROGRAM, f"no program is called {task.program!r}: install the plugin that has it")
    flow_parameters = _object(task.flow_parameters or "{}", "the flow's parameters")
    call = Call(
        flow_id=task.key.flow_id,
        exec_seq=task.key.seq,
        task_id=task.task_id,
        task_seq=task.task_seq,
        program=entry.program.name,
        attempt=task.attempt,
        claim_id=task.claim_id,
        params=_parameters(entry, _object(task.parameters, "parameters"), flow_parameters),
        flow_parameters=flow_parameters,
        results=Results(task.key.flow_id, read_results),
        logger=capture.task_logger(),
        stop=stop,
    )
    return invoke(entry.program, call)


def _object(text: str | None, what: str) -> dict[str, Any]:
    try:
        return jsontext.loads_object(text)
    except jsontext.NotJSON as error:
        raise Refused(Reason.BAD_PARAMETERS, f"{what} {error}") from None


def _parameters(entry: Entry, own: dict[str, Any], of_flow: dict[str, Any]) -> dict[str, Any]:
    """The row's parameters; what the program declares and the row leaves open is filled from the flow's."""
    declared = entry.schema.get("properties", {})
    return {name: value for name, value in of_flow.items() if name in declared} | own if of_flow else own


def _settlement(task: ClaimedTask, outcome: Outcome) -> Settlement:
    match outcome:
        case Finish(result=None):
            return Settlement(task, "finish")
        case Finish(result=result):
            return _finished(task, result)
        case Again(after=after, at=at):
            delay = after.total_seconds() if isinstance(after, timedelta) else float(after or 0.0)
            return Settlement(task, "again", delay_s=delay, due_at=at and _in_utc(at))
        case Fail(error=words, retry=retry):
            return _failed(task, words, retry=retry)


def _in_utc(instant: datetime) -> datetime:
    """The instant as databases keep it; the first and the last hours of the calendar have no UTC of their own."""
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return instant.replace(tzinfo=UTC)


def _finished(task: ClaimedTask, result: Any) -> Settlement:
    try:
        return Settlement(task, "finish", result=jsontext.dumps(result, max_bytes=jsontext.MAX_RESULT_BYTES))
    except jsontext.NotJSON as error:
        return _suspended(task, Reason.BAD_RESULT, f"the result {error}")


def _after_error(task: ClaimedTask, error: BaseException) -> Settlement:
    match error:
        case Stopped():
            return released(task)
        case Refused(reason=reason, words=words):
            return _suspended(task, reason, words)
        case ParameterError():
            return _suspended(task, Reason.BAD_PARAMETERS, str(error))
        case BadOutcome():
            return _suspended(task, Reason.BAD_RESULT, str(error))
        case PenstockError():  # results of earlier tasks could not be read: the database is away, not the program
            return released(task)
    return _failed(task, _one_line(error), _traceback(error))


def _one_line(error: BaseException) -> str:
    try:
        words = str(error)
    except BaseException:  # an exception whose __str__ raises
        words = "(its message cannot be shown)"
    name = type(error).__name__
    return f"{name}: {words}" if words else name


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:
        return _one_line(error)


def _failed(task: ClaimedTask, words: str, trace: str | None = None, *, retry: bool = True) -> Settlement:
    """Another try if the program and the row's rule allow it, else a person's."""
    settlement = _suspended(task, Reason.FAILED, words, trace)
    if retry and task.retry.allows_after(task.attempt):
        return replace(settlement, kind="retry", reason=None, delay_s=task.retry.delay_after(task.attempt))
    return settlement


def _suspended(task: ClaimedTask, reason: str, words: str, trace: str | None = None) -> Settlement:
    clean = jsontext.clean_text(words, MAX_ERROR_CHARS)
    return Settlement(task, "suspend", reason=reason, error=clean, traceback=trace and jsontext.clean_text(trace))


def _with_log(settlement: Settlement, log: str | None) -> Settlement:
    if log is None:
        return settlement
    return replace(settlement, log=jsontext.clean_text(log, 2 * capture.MAX_CHARS))
