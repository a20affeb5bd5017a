"""`penstock principal`: people who log in at an OpenID provider."""

from __future__ import annotations

from typing import Any

import click

from penstock.commands.token import REASON, WORKFLOWS, ask
from penstock.door_options import Opened, door_options
from penstock.options import ROLES, page_options

EXAMPLES = """\b
Examples:
  penstock principal set ann@example.org --role operator --workflow 'load*'
  penstock principal list
  penstock principal drop ann@example.org          at once, with that person's sessions
"""


@click.group("principal", epilog=EXAMPLES)
def command() -> None:
    """Say what people may do who log in elsewhere (OpenID Connect)."""


@command.command("set", epilog=EXAMPLES)
@click.argument("name")
@door_options
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the person may do.")
@WORKFLOWS
@REASON
def set_one(
    name: str, open_door: Opened, as_json: bool, role: str, workflows: tuple[str, ...], reason: str | None
) -> None:
    """Let NAME, as the provider says it, log in with this role from now on."""
    arguments: dict[str, Any] = {"role": role} | ({"workflows": list(workflows)} if workflows else {})
    _tell(as_json, ask(open_door, "set_principal", name, arguments, reason), f"{name} is {role}.")


@command.command("drop", epilog=EXAMPLES)
@click.argument("name")
@door_options
@REASON
def drop(name: str, open_door: Opened, as_json: bool, reason: str | None) -> None:
    """Let NAME in no longer, and end that person's sessions within a second everywhere."""
    _tell(as_json, ask(open_door, "drop_principal", name, {}, reason), f"{name} may do nothing any longer.")


@command.command("list", epilog=EXAMPLES)
@door_options
@page_options(100)
def list_all(open_door: Opened, as_json: bool, limit: int, cursor: str | None) -> None:
    """List people by name."""
    from penstock import output

    with open_door() as door:
        found, following = door.principals(limit=limit, cursor=cursor)
    columns = ("name", "role", "workflows", "state")
    nothing = "Nobody. Add somebody: penstock principal set NAME --role viewer"
    output.show_list(as_json, {"principals": found, "next": following}, columns, [*map(_row, found)], nothing)


def _row(person: dict[str, Any]) -> tuple[str, ...]:
    workflows = "all" if person["workflows"] is None else ", ".join(person["workflows"])
    return person["name"], person["role"], workflows, "dropped" if person["disabled_ts"] else "good"


def _tell(as_json: bool, answer: dict[str, Any], words: str) -> None:
    from penstock import output

    if as_json:
        output.echo_json(answer)
    else:
        output.say(words)
