"""How long something is asked again, and what may be."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from typing import Final

from engine.errors import DatabaseUnavailable, OutcomeUnknown, PenstockError
from penstock.doors.problems import Unavailable

PATIENCE_S: Final = 30.0
"""How long a client asks again while the service or its database does not answer, unless told otherwise."""
MAX_PAUSE_S: Final = 5.0
NOTHING_DONE: Final = frozenset({"busy", "not-ready", "database-unavailable"})
"""Problems of which the service says itself that nothing was changed."""
WATCH_FIRST_S, WATCH_GROWTH, WATCH_MOST_S = 0.02, 1.3, 1.0
"""Between looks at a flow that is waited for: so long at first, and ever longer, up to this."""


def may_repeat(error: PenstockError, is_repeatable: bool) -> bool:
    """Does it make sense, and do no harm, to ask for the same once more?"""
    if isinstance(error, Unavailable):
        return error.code not in (500, 501) and (is_repeatable or error.kind in NOTHING_DONE)
    if isinstance(error, OutcomeUnknown):
        return is_repeatable
    return isinstance(error, DatabaseUnavailable)


def pauses(seconds: float) -> Iterator[float]:
    """Lengths of the pauses between tries, growing, of all together about so many seconds."""
    ends, pause = time.monotonic() + seconds, 0.1
    while (left := ends - time.monotonic()) > 0:
        yield min(left, random.uniform(0.5, 1.0) * pause)
        pause = min(pause * 2, MAX_PAUSE_S)


def looks(timeout_s: float | None) -> Iterator[float]:
    """Lengths of the pauses between looks at what is waited for; the last look is at the end of the time."""
    ends, pause = math.inf if timeout_s is None else time.monotonic() + timeout_s, WATCH_FIRST_S
    while (left := ends - time.monotonic()) > 0:
        yield min(left, pause * random.uniform(0.8, 1.0))
        pause = min(pause * WATCH_GROWTH, WATCH_MOST_S)
    yield 0.0
