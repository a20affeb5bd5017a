"""`penstock token`: who may ask for what over HTTP."""

from __future__ import annotations

from typing import Any

import click

from penstock.door_options import Opened, door_options
from penstock.durations import Duration
from penstock.options import ROLES, page_options

EXAMPLES = """\b
Examples:
  penstock token create ann --role admin           shown once; good for 90 days
  penstock token create loader --role operator --workflow 'load*' --expires 30d
  penstock token create gpu-1 --role worker        for penstock work
  penstock token list
  penstock token revoke TOKEN_ID                   at once, with the sessions that came from it
"""
WORKFLOWS = click.option(
    "--workflow",
    "workflows",
    multiple=True,
    metavar="PATTERN",
    help="Only these: an id, or how ids begin and a *; may be repeated. [default: all]",
)
REASON = click.option("--reason", metavar="WORDS", help="Kept with the record of the command.")
FOR_EVER = "never"


class Expiry(Duration):
    """A duration, or the word for none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return FOR_EVER if value == FOR_EVER else super().convert(value, param, ctx)


@click.group("token", epilog=EXAMPLES)
def command() -> None:
    """Make, list and revoke the tokens that HTTP requests show."""


@command.command("create", epilog=EXAMPLES)
@click.argument("name")
@door_options
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do; each role may do the earlier's.")
@WORKFLOWS
@click.option(
    "--expires", type=Expiry(), default="90d", show_default=True, metavar="TIME", help="90s, 12h, 30d, or never."
)
@REASON
def create(
    name: str, open_door: Opened, as_json: bool, role: str, workflows: tuple[str, ...], expires: Any, reason: str | None
) -> None:
    """Make a token for NAME, and show it this once: the database keeps a hash of it."""
    from engine.tokens import new_token
    from engine.waiting.tokens import digest
    from penstock import output

    token = new_token()
    arguments: dict[str, Any] = {"token_hash": digest(token), "role": role}
    arguments |= {"workflows": list(workflows)} if workflows else {}
    arguments |= {} if expires == FOR_EVER else {"expires_s": float(expires)}
    answer = ask(open_door, "create_token", name, arguments, reason)
    if as_json:
        output.echo_json({"token": token, **answer})
        return
    output.say(token)
    output.say(f"This is shown once. Token {answer['token_id']} of {name!r}, {role}.", err=True)


@command.command("list", epilog=EXAMPLES)
@door_options
@click.option("--sessions", is_flag=True, help="Sessions of browsers instead.")
@page_options(100)
def list_all(open_door: Opened, as_json: bool, sessions: bool, limit: int, cursor: str | None) -> None:
    """List tokens, newest first. None of them can be shown again."""
    from penstock import output

    with open_door() as door:
        found, following = door.tokens(kind="session" if sessions else "api", limit=limit, cursor=cursor)
    columns = ("token", "name", "role", "workflows", "state", "created", "used", "expires")
    nothing = "None. Make one: penstock token create NAME --role admin"
    output.show_list(as_json, {"tokens": found, "next": following}, columns, [*map(_row, found)], nothing)


@command.command("revoke", epilog=EXAMPLES)
@click.argument("token_id")
@door_options
@REASON
def revoke(token_id: str, open_door: Opened, as_json: bool, reason: str | None) -> None:
    """End the token of this id, and the sessions that came from it, within a second everywhere."""
    from penstock import output

    answer = ask(open_door, "revoke_token", token_id, {}, reason)
    if as_json:
        output.echo_json(answer)
    else:
        output.say(f"The token of {answer['name']!r} is revoked.")


def ask(open_door: Opened, verb: str, subject: str, arguments: dict[str, Any], reason: str | None) -> dict[str, Any]:
    """Carry out a command through the door that was named."""
    with open_door() as door:
        return door.ask(verb, subject, arguments, reason)


def _row(token: dict[str, Any]) -> tuple[Any, ...]:
    from penstock.output import moment

    state = "revoked" if token["revoked_ts"] else "good" if token["is_live"] else "expired"
    workflows = "all" if token["workflows"] is None else ", ".join(token["workflows"])
    times = (moment(token[name]) for name in ("created_ts", "used_ts", "expires_ts"))
    return (token["token_id"], token["name"], token["role"], workflows, state, *times)
