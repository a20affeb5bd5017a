"""All commands by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.commands import in_bulk, on_definitions, on_flows, on_limits, on_tokens, on_waits, on_watchers, on_workflows
from engine.commands.command import Command
from engine.errors import BadRequest

_ROOMS: Final = (on_workflows, on_definitions, on_flows, in_bulk, on_waits, on_limits, on_watchers, on_tokens)
COMMANDS: Final[Mapping[str, Command]] = {command.name: command for room in _ROOMS for command in room.COMMANDS}


def command_of(name: str) -> Command:
    """Errors: BadRequest, which names those that there are."""
    found = COMMANDS.get(name)
    if found is None:
        raise BadRequest("verb", f"{name[:64]!r} is none of {', '.join(sorted(COMMANDS))}")
    return found
