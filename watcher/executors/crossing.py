"""Outcomes and arrivals as JSON, there and back: what crosses the pipe between a watcher and its children."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from engine import jsontext
from engine.growth import plan_checks
from programs.contract import Arrival
from programs.outcomes import Again, Await, Choose, Fail, Finish, Outcome, Plan, Task

PIECE: Final = 512 * 1024
"""Bytes of JSON of the tasks of a plan that go into one frame; a task of its own may have more."""


class NoJSON(Exception):
    """The outcome holds what cannot cross; the message is the words for a person."""


def outgoing(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """The messages that carry this outcome; several only for a plan. Errors: NoJSON before the first."""
    match outcome:
        case Plan():
            yield from _plan(outcome)
        case Finish(result=result):
            yield {"outcome": "finish", "result": _checked(result, "the result")}
        case Choose(steps=steps, result=result):
            yield {"outcome": "choose", "steps": list(steps), "result": _checked(result, "the result")}
        case Fail(error=error, retry=retry):
            yield {"outcome": "fail", "error": jsontext.clean_text(error), "retry": bool(retry)}
        case Again(after=after, at=at, timeout=timeout):
            yield {"outcome": "again", "after": _time(after), "at": _time(at), "timeout": _time(timeout)}
        case Await(kind=kind, name=name, key=key, until=until):
            details = _checked(dict(outcome.details), "the details of its Await")
            asked = {"kind": kind, "name": name, "key": key, "until": _time(until), "details": details}
            yield {"outcome": "await", **_checked(asked, "its Await")}


def incoming(message: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]] = ()) -> Outcome:
    """The outcome of a message; `tasks` are those that came before it, for a plan. Errors: any, if a child sends what
    `outgoing` does not make."""
    match message["outcome"]:
        case "finish":
            return Finish(message["result"])
        case "choose":
            return Choose(*message["steps"], result=message["result"])
        case "fail":
            return Fail(message["error"], retry=message["retry"])
        case "again":
            return Again(_delay(message["after"]), _instant(message["at"]), _delay(message["timeout"]))
        case "await":
            until = message["until"]
            when = _instant(until) if isinstance(until, str) else _delay(until)
            return Await(message["kind"], message["name"], message["key"], when, message["details"])
        case "plan":
            return Plan([Task(**task) for task in tasks], message["result"], message["join"])
    raise ValueError(f"no outcome is called {message['outcome']!r}")


def arrivals_out(arrivals: Sequence[Arrival]) -> list[dict[str, Any]]:
    return [{**asdict(arrival), "at": arrival.at.isoformat()} for arrival in arrivals]


def arrivals_in(found: Sequence[Mapping[str, Any]]) -> list[Arrival]:
    return [Arrival(**{**item, "at": datetime.fromisoformat(item["at"])}) for item in found]


def _plan(plan: Plan) -> Iterator[dict[str, Any]]:
    """Its tasks in pieces, so that the largest plan needs no larger frame than a result does."""
    result = _checked(plan.result, "the result")
    try:
        plan_checks.check(plan.tasks, join=plan.join)
    except plan_checks.BadPlan as error:
        raise NoJSON(str(error)) from None
    piece: list[dict[str, Any]] = []
    size = 0
    for task in plan.tasks:
        told = {**vars(task), "after": list(task.after)}
        length = len(jsontext.dumps(told).encode())
        if piece and size + length > PIECE:
            yield {"tasks": piece}
            piece, size = [], 0
        piece.append(told)
        size += length
    yield {"tasks": piece}
    yield {"outcome": "plan", "result": result, "join": bool(plan.join)}


def _checked(value: Any, what: str) -> Any:
    """The value, if a row could carry it."""
    try:
        jsontext.dumps(value, max_bytes=jsontext.MAX_RESULT_BYTES)
    except jsontext.NotJSON as error:
        raise NoJSON(f"{what} {error}") from None
    return value


def _time(value: datetime | timedelta | float | None) -> str | float | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _delay(seconds: float | None) -> float | None:
    return None if seconds is None else float(seconds)
