"""One execution of one task, step by step: find the program, check the parameters, run, and read the answer.

This is the one place that catches everything: whatever a program does becomes a settlement, and the watcher lives on.
"""

from __future__ import annotations

import threading
import traceback
from dataclasses import replace
from typing import Any

from engine import jsontext
from engine.claim import ClaimedTask
from engine.errors import PenstockError
from engine.row_checks import MAX_PARAMETERS_BYTES
from engine.settling.settlement import Settlement
from engine.states import Reason
from programs.catalogue import Catalogue, Entry
from programs.contract import Call, Stopped
from programs.errors import BadOutcome, ParameterError
from programs.invoke import invoke
from programs.outcomes import Outcome
from watcher import capture, mappings, templates
from watcher.inputs import LazyMapping, LazySequence, Reader
from watcher.refusals import Refused
from watcher.settlements import failed, released, settlement_of, suspended


def run(task: ClaimedTask, catalogue: Catalogue, read: Reader, stop: threading.Event) -> Settlement:
    """Execute the task and say how to settle it. Never raises."""
    with capture.transcript() as log:
        try:
            settlement = settlement_of(task, _execute(task, catalogue, read, stop))
        except BaseException as error:  # SystemExit and KeyboardInterrupt of a program end its task, not the watcher
            settlement = _after_error(task, error)
    return _with_log(settlement, log.text())


def _execute(task: ClaimedTask, catalogue: Catalogue, read: Reader, stop: threading.Event) -> Outcome:
    entry = catalogue.get(task.program or "")
    if entry is None:
        raise Refused(Reason.UNKNOWN_PROGRAM, f"no program is called {task.program!r}: install the plugin that has it")
    flow_parameters = _object(task.flow_parameters or "{}", "the flow's parameters")
    own = templates.rendered(task, _object(task.parameters, "parameters"), flow_parameters, read)
    own |= mappings.worked_out(task, flow_parameters, read)
    call = Call(
        flow_id=task.key.flow_id,
        exec_seq=task.key.seq,
        task_id=task.task_id,
        task_seq=task.task_seq,
        program=entry.program.name,
        attempt=task.attempt,
        claim_id=task.claim_id,
        params=_parameters(entry, own, flow_parameters),
        flow_parameters=flow_parameters,
        results=LazyMapping(lambda: read.results(task.key.flow_id)),
        upstream=LazySequence(lambda: read.upstream(task.key)),
        arrivals=LazySequence(lambda: read.arrivals(task.key)),
        logger=capture.task_logger(),
        stop=stop,
    )
    return mappings.kept(task, invoke(entry.program, call), flow_parameters, read)


def _object(text: str | None, what: str) -> dict[str, Any]:
    try:
        return jsontext.loads_object(text, max_bytes=MAX_PARAMETERS_BYTES)
    except jsontext.NotJSON as error:
        raise Refused(Reason.BAD_PARAMETERS, f"{what} {error}") from None


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
        case PenstockError():  # results of earlier tasks could not be read: the database is away, not the program
            return released(task)
    return failed(task, _one_line(error), _traceback(error))


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


def _with_log(settlement: Settlement, log: str | None) -> Settlement:
    if log is None:
        return settlement
    return replace(settlement, log=jsontext.clean_text(log, 2 * capture.MAX_CHARS))
