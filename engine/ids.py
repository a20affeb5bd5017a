"""Ids that Penstock makes: sortable ones for flows, random ones for claims and watchers."""

from __future__ import annotations

import os
import time
import uuid


def new_flow_id() -> str:
    """A UUID of version 7: later flows sort after earlier ones, so new rows land at the end of every index."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF000 << 64) | 0x7000 << 64  # version 7
    value = value & ~(0xC000 << 48) | 0x8000 << 48  # the variant of RFC 9562
    return str(uuid.UUID(int=value))


def new_claim_id() -> str:
    """The fence of a claim. Random and not a counter: a database restored from a copy would issue a number twice."""
    return str(uuid.uuid4())
