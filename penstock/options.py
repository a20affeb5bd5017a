"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from penstock.sources import database_url

F = TypeVar("F", bound=Callable[..., Any])
ROLES = ("viewer", "worker", "operator", "author", "admin")
"""Those of `engine.access.Role`, which would take long to load for a help text."""
_FLOWER = {
    "dbuser": "user",
    "dbpass": "password",
    "dbhost": "host",
    "dbport": "port",
    "dbname": "name of the database",
    "dbkind": "postgresql or mysql",
}


def db_option(function: F) -> F:
    """`--db URL`, handed on as `db_url`."""

    @click.option(
        "--db",
        "db",
        envvar="PENSTOCK_DB",
        metavar="URL",
        help="The database: sqlite:///file.db, mysql+pymysql://user:password@host/name or "
        "postgresql+psycopg://... [env: PENSTOCK_DB; default: sqlite:///penstock.db]",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, db: str | None, **options: Any) -> Any:
        flower = {name: options.pop(name) for name in _FLOWER if name in options}
        source = click.get_current_context().get_parameter_source("db")
        return function(*args, db_url=database_url(db, source.name if source else "", flower), **options)

    return wrapped  # type: ignore[return-value]


def flower_db_options(function: F) -> F:
    """Flower's own flags for its database: -dbuser, -dbpass, -dbhost, -dbport, -dbname. Goes outside `db_option`."""
    for name, words in reversed(_FLOWER.items()):
        function = click.option(f"-{name}", name, default=None, hidden=True, help=f"As Flower's flag: {words}.")(
            function
        )
    return function


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs to read.")(function)


def page_options(default: int) -> Callable[[F], F]:
    """`--limit N` and `--cursor TEXT`: which page of a list."""

    def add(function: F) -> F:
        rows = click.IntRange(1, 500)
        function = click.option("--cursor", help="Go on where a page ended: `next` of the JSON output.")(function)
        return click.option("-n", "--limit", type=rows, default=default, show_default=True, help="At most so many.")(
            function
        )

    return add


def plugin_options(function: F) -> F:
    """Which plugins may add programs."""
    function = click.option(
        "--no-plugins",
        envvar="PENSTOCK_DISABLE_PLUGIN_AUTOLOAD",
        is_flag=True,
        help="Load built-in programs only. [env: PENSTOCK_DISABLE_PLUGIN_AUTOLOAD]",
    )(function)
    return click.option(
        "--plugins",
        envvar="PENSTOCK_PLUGINS",
        metavar="LIST",
        help="Load plugins of these distributions only, separated by commas: NAME, NAME==VERSION, NAME@sha256:HASH or"
        " NAME==VERSION@sha256:HASH, as penstock plugins prints it. [env: PENSTOCK_PLUGINS; default: all]",
    )(function)


def check_option(function: F) -> F:
    """Whether a register looks at the programs of the workflows that it starts."""
    return click.option(
        "--check-programs/--no-check-programs",
        envvar="PENSTOCK_CHECK_PROGRAMS",
        default=True,
        show_default=True,
        help="Refuse workflows whose programs or parameters do not fit what is installed here; off where only the"
        " watchers have the plugins.",
    )(function)


def plugin_list(plugins: str | list[str] | None) -> list[str] | None:
    """The allow-list as build_catalogue() takes it."""
    if plugins is None:
        return None
    names = plugins.split(",") if isinstance(plugins, str) else plugins
    return [name.strip() for name in names if name.strip()]


def log_options(function: F) -> F:
    """How much is said on stderr, set up before the command begins."""

    @click.option("--log-json", "--json", envvar="PENSTOCK_LOG_JSON", is_flag=True, help="Log one JSON object a line.")
    @click.option(
        "--log-level",
        envvar="PENSTOCK_LOG_LEVEL",
        default="info",
        show_default=True,
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="How much to say on stderr.",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, log_level: str, log_json: bool, **options: Any) -> Any:
        from penstock import logs

        logs.set_up(log_level, as_json=log_json)
        return function(*args, **options)

    return wrapped  # type: ignore[return-value]
