"""What people write on the command line: a task as FLOW/SEQ, a parameter as NAME=VALUE."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

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


def pairs(given: Iterable[str]) -> dict[str, str]:
    """Errors: click.BadParameter."""
    found: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--param")
        found[name] = value
    return found
