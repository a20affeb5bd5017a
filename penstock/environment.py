"""Variables named PENSTOCK_... that nobody reads: most of them are typing errors, and their silence would be costly."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

import click

PREFIX = "PENSTOCK_"
OURS = ("PENSTOCK_TEST_", "PENSTOCK_FAIL", "PENSTOCK_DB_PASSWORD")
"""What tests set, and what docker-compose.yml puts together a URL from."""


def unknown_variables(environ: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """One sentence for each variable that no setting has, with the name that it may have meant."""
    names = {name.removeprefix(PREFIX): name for name in sorted(known)}
    return [
        _words(name, difflib.get_close_matches(name.removeprefix(PREFIX), names, n=1, cutoff=0.75))
        for name in sorted(environ)
        if name.startswith(PREFIX) and not name.startswith(OURS) and name.removeprefix(PREFIX) not in names
    ]


def known_variables() -> set[str]:
    """What the options of all commands read."""
    from penstock.cli import cli

    context = click.Context(cli)
    commands = [cli, *(cli.get_command(context, name) for name in cli.list_commands(context))]
    return {name for command in commands if command is not None for name in _of(command)}


def _of(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        names = parameter.envvar or ()
        yield from (names,) if isinstance(names, str) else names
    for part in getattr(command, "commands", {}).values():
        yield from _of(part)


def _words(name: str, close: list[str]) -> str:
    meant = f": did you mean {PREFIX}{close[0]}?" if close else ""
    return f"the variable {name} sets nothing{meant}"
