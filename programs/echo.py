"""Programs that do nothing much: for trying out, testing and teaching."""

import random
from typing import Annotated

from pydantic import Field

from programs.contract import Call, Program
from programs.outcomes import Fail, Finish, Outcome

Seconds = Annotated[float, Field(ge=0, description="seconds, 0 or more")]


class EchoRandomTimeSleep(Program):
    """Sleep for a random time between MIN_SECOND and MAX_SECOND. Safe to repeat."""

    name = "EchoRandomTimeSleep"

    def run(self, call: Call, MIN_SECOND: Seconds = 1, MAX_SECOND: Seconds = 5) -> Outcome:
        if MIN_SECOND > MAX_SECOND:
            return Fail(f"MIN_SECOND ({MIN_SECOND:g}) must not be above MAX_SECOND ({MAX_SECOND:g})")
        return _sleep(call, random.uniform(MIN_SECOND, MAX_SECOND))


class EchoParamTimeSleep(Program):
    """Sleep for SLEEP_TIME_SECOND seconds. Safe to repeat."""

    name = "EchoParamTimeSleep"

    def run(self, call: Call, SLEEP_TIME_SECOND: Seconds) -> Outcome:
        return _sleep(call, SLEEP_TIME_SECOND)


def _sleep(call: Call, seconds: float) -> Outcome:
    call.logger.info("%s starts: sleeping %.3g s", call.program, seconds)
    call.sleep(seconds)
    call.logger.info("%s finished", call.program)
    return Finish()


class Noop(Program):
    """Do nothing: a place where branches meet. Safe to repeat."""

    name = "Noop"

    def run(self, call: Call) -> Outcome:
        return Finish()


Attempt = Annotated[int, Field(ge=1, description="the attempt that succeeds; left out: none does")]


class FailForTrials(Program):
    """Fail with MESSAGE, to see what a failure does. Safe to repeat."""

    name = "FailForTrials"

    def run(self, call: Call, MESSAGE: str = "failed on request", FAIL_UNTIL_ATTEMPT: Attempt | None = None) -> Outcome:
        if FAIL_UNTIL_ATTEMPT is None or call.attempt < FAIL_UNTIL_ATTEMPT:
            return Fail(MESSAGE)
        return Finish()
