"""Every command through every door: a door that lacks a verb fails here, and the manual's table is made of the code."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from engine.access import Actor
from engine.commands import COMMANDS, Command, Noun, command_of
from engine.commands.carrying_out import Ask, checked
from engine.errors import BadRequest
from penstock import AsyncClient, Client
from penstock.cli import cli
from register import api
from register.access import administration
from register.api.commands import path_of

MANUAL = Path(__file__).resolve().parent.parent / "docs/commands.md"
HTTP = {(one.method, one.template) for one in (*api.ENDPOINTS, *administration.ENDPOINTS)}
ELSEWHERE = {
    "apply": ("PUT", "/api/v1/workflows/{task_id}"),
    "delete_workflow": ("DELETE", "/api/v1/workflows/{task_id}"),
    "create_token": ("POST", "/api/v1/tokens"),
}
"""Commands that HTTP has another usual word for."""
BY_COMMAND_LINE = {
    "apply": "apply",
    "create_token": "token create",
    "revoke_token": "token revoke",
    "set_principal": "principal set",
    "drop_principal": "principal drop",
}


def http(command: Command) -> str:
    method, path = ELSEWHERE.get(command.name, ("POST", path_of(command)))
    assert (method, path) in HTTP, f"HTTP lacks {command.name}"
    return f"`{method} {path.removeprefix('/api/v1')}`"


def command_line(command: Command) -> str:
    words = BY_COMMAND_LINE.get(command.name, command.name.replace("_", "-"))
    group: click.Command = cli
    for word in words.split():
        assert isinstance(group, click.Group)
        found = group.get_command(click.Context(group), word)
        assert found is not None, f"the command line lacks {command.name}"
        group = found
    return f"`penstock {words}`"


def python(command: Command) -> str:
    for client in (Client, AsyncClient):
        assert callable(getattr(client, command.name, None)), f"{client.__name__} lacks {command.name}"
    return f"`client.{command.name}()`"


def sql(command: Command) -> str:
    assert command_of(command.name) is command
    return f"`verb = '{command.name}'`"


def row_of(command: Command) -> str:
    return f"| `{command.name}` | {http(command)} | {command_line(command)} | {python(command)} | {sql(command)} |"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_door_has_every_verb_and_the_manual_says_how(name: str) -> None:
    assert row_of(COMMANDS[name]) in MANUAL.read_text().splitlines()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_row_of_each_verb_is_understood(name: str) -> None:
    """With nothing in it, it is refused for what it lacks, and never for its verb."""
    command = COMMANDS[name]
    ask = Ask(name, None if command.noun is Noun.EVERYTHING else "x")
    if any(field.is_required() for field in command.arguments.model_fields.values()):
        with pytest.raises(BadRequest) as refused:
            checked(ask, Actor("ann"))
        assert "is none of" not in str(refused.value)
    else:
        assert checked(ask, Actor("ann"))[0] is command
