"""Options of commands that look and ask: at a database, or at a service."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from penstock import options
from penstock.asker import token_of, user

if TYPE_CHECKING:
    from engine.definition.reading import Check
    from penstock.doors.door import Door

F = TypeVar("F", bound=Callable[..., Any])
Opened = Callable[..., "Door"]
"""Takes what finds steps that no program fits, where definitions are written to a database."""


def door_options(function: F) -> F:
    """`--db URL` or `--url URL` with `--token`, and `--json`; handed on as `open_door` and `as_json`."""

    @options.db_option
    @options.json_option
    @click.option(
        "--url",
        envvar="PENSTOCK_URL",
        metavar="URL",
        help="A service to ask instead of a database, such as http://127.0.0.1:8000. [env: PENSTOCK_URL]",
    )
    @click.option(
        "--token",
        envvar="PENSTOCK_TOKEN",
        metavar="TOKEN",
        help="What shows the service who asks; better in PENSTOCK_TOKEN, or in a file that PENSTOCK_TOKEN_FILE names.",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, db_url: str, url: str | None, token: str | None, **given: Any) -> Any:
        return function(*args, open_door=functools.partial(open_door, db_url, url, token), **given)

    return wrapped  # type: ignore[return-value]


def open_door(db_url: str, url: str | None, token: str | None, check: Check | None = None) -> Door:
    """Errors: those of an unusable URL; the schema's; CannotStart for a token's file that cannot be read."""
    if url is not None:
        from penstock.doors.http import HttpDoor

        return HttpDoor(url, usual_token(token))
    from engine.access import Actor
    from penstock.doors.database import DatabaseDoor

    return DatabaseDoor.open(db_url, Actor(f"cli:{user()}", door="cli"), check)


def usual_token(given: str | None) -> str | None:
    """The token to show. Errors: CannotStart for a file that cannot be read."""
    from penstock.failures import CannotStart

    try:
        return token_of(given)
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"the file that PENSTOCK_TOKEN_FILE names cannot be read: {error}") from error
