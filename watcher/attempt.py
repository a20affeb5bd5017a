"""One execution of one task, step by step: find the program, check the parameters, run, and read the answer.

This is the one place that catches everything: whatever a program does becomes a settlement, and the watcher lives on.
Where the program runs is decided in watcher/executors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from engine import jsontext
from engine.claimed import ClaimedTask
from engine.errors import PenstockError
from engine.preparing import mappings, parameters
from engine.preparing.refusals import Refused
from engine.settling.settlement import Settlement
from engine.states import Reason
from programs.catalogue import Catalogue, Entry
from programs.contract import Call, Stopped
from programs.errors import BadOutcome, ParameterError
from programs.outcomes import Choose, Finish, Outcome, Plan
from watcher import capture
from watcher.capture import Transcript
from watcher.inputs import Reader
from watcher.live_call import LiveCall
from watcher.secrets import NO_SECRETS, Secrets
from watcher.settlements import failed, released, settlement_of, suspended
from watcher.slots import Slot, StopSignal


class TryFailed(Exception):
    """The program failed elsewhere; what is known of it are words."""

    def __init__(self, words: str, trace: str | None = None, *, reason: str = Reason.FAILED) -> None:
        self.trace = trace
        self.reason = reason
        super().__init__(words)


@dataclass(frozen=True, eq=False)
class Attempt:
    """A task whose parameters have been worked out: ready to run, wherever."""

    task: ClaimedTask
    entry: Entry
    params: dict[str, Any] = field(repr=False)
    flow_parameters: dict[str, Any] = field(repr=False)
    secrets: list[str] = field(default_factory=list, repr=False)
    """What was looked up for it."""
    http_networks: tuple[str, ...] = ()
    """Internal networks to which it may send requests."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the Call says of the task, as plain data."""
        task = self.task
        return {
            "flow_id": task.key.flow_id,
            "exec_seq": task.key.seq,
            "task_id": task.task_id,
            "task_seq": task.task_seq,
            "attempt": task.attempt,
            "claim_id": task.claim_id,
            "fence": task.claim_no,
            "params": self.params,
            "flow_parameters": self.flow_parameters,
            "http_networks": self.http_networks,
        }

    def call(self, read: Reader, slot: Slot) -> Call:
        """The Call of a program that runs in this process."""
        return LiveCall.of(slot, read, {**self.facts, "program": self.entry.program.name})

    def kept(self, outcome: Outcome, read: Reader) -> Outcome:
        """The outcome with the result that the row's output mapping keeps. Errors: Refused."""
        if self.task.output_mapping is None or not isinstance(outcome, Finish | Choose | Plan):
            return outcome
        found = mappings.kept(self.task, outcome.result, self.flow_parameters, read)
        match outcome:
            case Choose(steps=steps):
                return Choose(*steps, result=found)
            case Plan(tasks=tasks, join=join):
                return Plan(tasks, found, join)
        return Finish(found)


def entry_of(task: ClaimedTask, catalogue: Catalogue) -> Entry:
    """The program that the row names. Errors: Refused."""
    entry = catalogue.get(task.program or "")
    if entry is None:
        raise Refused(Reason.UNKNOWN_PROGRAM, f"no program is called {task.program!r}: install the plugin that has it")
    return entry


def prepared(
    task: ClaimedTask,
    entry: Entry,
    read: Reader,
    secrets: Secrets = NO_SECRETS,
    http_networks: tuple[str, ...] = (),
) -> Attempt:
    """Fill templates, mappings and secrets. Errors: Refused; those of the database."""
    own, of_flow, raw = parameters.prepared(task, read)
    used: list[str] = []
    if raw:
        own, used = secrets.filled(own, raw)
    return Attempt(task, entry, _parameters(entry, own, of_flow), of_flow, used, http_networks)


def settled(task: ClaimedTask, work: Callable[[], Outcome], log: Transcript) -> Settlement:
    """What becomes of the task, whatever `work` does. Never raises."""
    with capture.speaking(log):
        try:
            settlement = settlement_of(task, work())
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a program end its task, not the watcher
            settlement = _after_error(task, error)
    return with_log(settlement, log)


async def settled_async(
    task: ClaimedTask, work: Callable[[], Awaitable[Outcome]], log: Transcript, stop: StopSignal
) -> Settlement:
    """As `settled`, on an event loop: being cancelled is being stopped, if somebody wanted that."""
    with capture.speaking(log):
        try:
            settlement = settlement_of(task, await work())
        except BaseException as error:
            is_stopped = stop.is_set() and type(error).__name__ == "CancelledError"
            settlement = released(task) if is_stopped else _after_error(task, error)
    return with_log(settlement, log)


def with_log(settlement: Settlement, log: Transcript | None) -> Settlement:
    """With what the try has logged by now; a task that has not begun has no log."""
    text = None if log is None else log.text()
    return settlement if text is None else settlement._replace(log=jsontext.clean_text(text, 2 * capture.MAX_CHARS))


def _parameters(entry: Entry, own: dict[str, Any], of_flow: dict[str, Any]) -> dict[str, Any]:
    """The row's parameters; what the program declares and the row leaves open is filled from the flow's."""
    declared = entry.schema.get("properties", {})
    return {name: value for name, value in of_flow.items() if name in declared} | own if of_flow else own


def _after_error(task: ClaimedTask, error: BaseException) -> Settlement:
    match error:
        case Stopped():
            return released(task)
        case Refused(reason=reason, words=words):
            return suspended(task, reason, words)
        case ParameterError():
            return suspended(task, Reason.BAD_PARAMETERS, str(error))
        case BadOutcome():
            return suspended(task, Reason.BAD_RESULT, str(error))
        case TryFailed(trace=trace, reason=reason):
            return failed(task, str(error), trace, reason=reason)
        case PenstockError():  # results of earlier tasks could not be read: the database is away, not the program
            return released(task)
    return failed(task, capture.one_line(error), capture.trace(error))
