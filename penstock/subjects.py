"""FLOW/SEQ, as people write a task."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.doors.door import Door


def split(door: Door, subject: str, seqs: tuple[int, ...]) -> tuple[str, list[int]]:
    """FLOW/SEQ as flow and tasks, unless a flow is called so as a whole."""
    found = re.fullmatch(r"(.+)/(\d+(?:,\d+)*)", subject)
    if found is None or _is_flow(door, subject):
        return subject, list(seqs)
    return found[1], [*seqs, *map(int, found[2].split(","))]


def _is_flow(door: Door, flow_id: str) -> bool:
    from engine.errors import UnknownFlow
    from penstock.doors.problems import NotFound

    try:
        door.flow(flow_id)
    except (UnknownFlow, NotFound):
        return False
    return True
