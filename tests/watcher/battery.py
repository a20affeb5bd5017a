"""Programs that behave badly, each in its own way, and some that behave."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta, timezone
from typing import Any

from penstock import Again, Call, Fail, Finish, Outcome, Program, program


class Own(BaseException):
    pass


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not this way")


class LoudError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


RAISED: dict[str, BaseException] = {
    "ValueError": ValueError("boom"),
    "SystemExit": SystemExit(7),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "GeneratorExit": GeneratorExit(),
    "Own": Own("mine"),
    "Silent": SilentError(),
    "Loud": LoudError(),
    "surrogate": ValueError("half \ud800 a character, and \x00"),
    "long": ValueError("x" * 1_000_000),
    "empty": ValueError(),
}


@program("raises")
def raises(what: str) -> None:
    raise RAISED[what]


def _circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


RESULTS: dict[str, Any] = {
    "object": object(),
    "NaN": {"x": [float("nan")]},
    "surrogate": "\ud800",
    "big": "x" * 2_000_000,
    "set": {1},
    "circle": _circle(),
    "deep": None,
    "bytes": b"x",
    "NUL": "a\x00b",
    "text": "grüße 🎉 ' \" \\ %s :x",
    "number": 12.5,
    "zero": 0,
    "false": False,
    "nothing": None,
}
for _ in range(100_000):
    RESULTS["deep"] = [RESULTS["deep"]]


@program("returns")
def returns(what: str) -> Any:
    return RESULTS[what]


ANSWERS: dict[str, Any] = {"None": None, "class": Finish, "text": "done", "dict": {}, "error": ValueError("x")}


class Answers(Program):
    """Answers with what is no outcome."""

    name = "answers"

    def run(self, call: Call, what: str) -> Outcome:
        answer: Outcome = ANSWERS[what]
        return answer


AGAINS: dict[str, Any] = {
    "negative": -1,
    "text": "soon",
    "naive": datetime(2030, 1, 1),
    "last": datetime.max.replace(tzinfo=timezone(-timedelta(hours=9))),
    "endless": 1e300,
    "far": timedelta.max,
}


@program("again_with")
def again_with(what: str) -> Outcome:
    value = AGAINS[what]
    return Again(at=value) if isinstance(value, datetime) else Again(after=value)


@program("again_past")
def again_past(call: Call) -> Outcome:
    """Asks for another try at the beginning of time, once."""
    if call.claim_id in _seen:
        return Finish("not reached")
    first = not any(flow == call.flow_id for flow in _seen.values())
    _seen[call.claim_id] = call.flow_id
    return Again(at=datetime.min.replace(tzinfo=timezone(timedelta(hours=9)))) if first else Finish("back")


_seen: dict[str, str] = {}


@program("fails")
def fails() -> Outcome:
    return Fail("half \ud800 a character, and \x00")


@program("adds")
def adds(a: int, b: int = 1) -> int:
    return a + b


@program("talks")
def talks(call: Call, lines: int, what: str = "line") -> None:
    for number in range(lines):
        call.logger.info("%s %d", what, number)


@program("mumbles")
def mumbles(call: Call) -> None:
    call.logger.info("half \ud800 a character, and \x00")
    call.logger.info("long " + "x" * 100_000)
    logging.getLogger("some.package").error("from elsewhere")


@program("waits")
async def waits(call: Call) -> str:
    await asyncio.sleep(0.01)
    call.logger.info("from a coroutine")
    return "waited"


@program("async_raises")
async def async_raises() -> None:
    await asyncio.sleep(0)
    raise ValueError("from a coroutine")


PROGRAMS = (raises, returns, Answers(), again_with, again_past, fails, adds, talks, mumbles, waits, async_raises)
