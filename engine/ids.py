"""Ids that Penstock makes: sortable ones for flows, random ones for claims and watchers."""

from __future__ import annotations

import os
import time
import uuid


def new_flow_id() -> str:
    """A UUID of version 7: later flows sort after earlier ones, so new rows land at the end of every index.

    The 12 bits behind the milliseconds hold their fraction, in steps of 244 nanoseconds; the rest is random.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    noise = int.from_bytes(os.urandom(8)) >> 2
    variant = 0b10  # of RFC 9562
    digits = f"{milliseconds << 80 | 7 << 76 | fraction << 64 | variant << 62 | noise:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_wait_id() -> str:
    """The id of a wait or a message: what was made later sorts after what was made before it."""
    return new_flow_id()


def new_claim_id() -> str:
    """The fence of a claim. Random and not a counter: a database restored from a copy would issue a number twice."""
    return str(uuid.uuid4())
