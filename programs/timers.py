"""Waiting for a time."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import isodate
from pydantic import AfterValidator, Field

from programs.contract import Call, Program
from programs.outcomes import Await, Fail, Finish, Outcome


def _duration(text: str) -> str:
    """Text that says how long in ISO 8601, and not backwards."""
    try:
        span = isodate.parse_duration(text)
        ends_later = after(span, datetime(2000, 1, 31, tzinfo=UTC)) >= datetime(2000, 1, 31, tzinfo=UTC)
    except (ValueError, ArithmeticError, TypeError):  # isodate has errors of all three families
        ends_later = False
    if not ends_later:
        raise ValueError("expected a duration in ISO 8601 that ends before the year 10000, such as PT1H30M, P2W or P1M")
    return text


def _instant(text: str) -> str:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.utcoffset() is None:
        raise ValueError("expected a date and time with a zone, such as 2030-01-31T09:00:00+01:00 or 2030-01-31T08:00Z")
    return text


Seconds = Annotated[float, Field(ge=0, description="seconds, 0 or more")]
DurationText = Annotated[str, AfterValidator(_duration), Field(description="ISO 8601: PT1H30M, P2W, P1M, P1Y2M")]
InstantText = Annotated[str, AfterValidator(_instant), Field(description="ISO 8601 with a zone")]


class Wait(Program):
    """Wait for SECONDS, for a DURATION, or UNTIL a time, without holding a worker. Safe to repeat.

    Months and years are those of the calendar, in UTC: the 31st of January and P1M is the last of February. Their end
    is worked out by the watcher's clock when the task begins; everything shorter is left to the database's.
    """

    name = "Wait"

    def run(
        self,
        call: Call,
        SECONDS: Seconds | None = None,
        DURATION: DurationText | None = None,
        UNTIL: InstantText | None = None,
    ) -> Outcome:
        if sum(given is not None for given in (SECONDS, DURATION, UNTIL)) != 1:
            return Fail("Wait takes exactly one of SECONDS, DURATION and UNTIL", retry=False)
        if any(arrival.kind == "timer" for arrival in call.arrivals):
            return Finish()
        try:
            return Await("timer", until=_until(SECONDS, DURATION, UNTIL))
        except (OverflowError, ValueError):
            return Fail(f"DURATION {DURATION} ends beyond the year 9999", retry=False)


def _until(seconds: float | None, duration: str | None, until: str | None) -> float | timedelta | datetime:
    if seconds is not None:
        return seconds
    if until is not None:
        return datetime.fromisoformat(until)
    span = isodate.parse_duration(duration)
    return span if isinstance(span, timedelta) else after(span, datetime.now(UTC))


def after(span: timedelta | isodate.Duration, start: datetime) -> datetime:
    """The time that lies this span after `start`, true to the calendar: a day that its month has not is its last."""
    end: datetime = start + span
    return end
