"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from penstock.durations import DURATION
from penstock.sources import database_url

F = TypeVar("F", bound=Callable[..., Any])
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
        metavar="NAMES",
        help="Load plugins of these distributions only, separated by commas. [env: PENSTOCK_PLUGINS; default: all]",
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
    function = click.option(
        "--log-level",
        envvar="PENSTOCK_LOG_LEVEL",
        default="info",
        show_default=True,
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="How much to say on stderr.",
    )(function)
    return click.option(
        "--log-json", "--json", envvar="PENSTOCK_LOG_JSON", is_flag=True, help="Log one JSON object a line."
    )(function)


def server_options(function: F) -> F:
    """Where the HTTP service listens, Flower's two flags among the names."""
    function = click.option(
        "--port", "-webport", envvar="PENSTOCK_PORT", type=int, help="Port; 0 takes any free one. [default: 8000]"
    )(function)
    return click.option(
        "--host", "-webhost", envvar="PENSTOCK_HOST", help="Address to listen on. [default: 127.0.0.1]"
    )(function)


def watcher_options(function: F) -> F:
    """The knobs of a watcher; Flower's four first."""
    options = [
        click.option("--workers", envvar="PENSTOCK_WORKERS", type=int, help="Tasks at once. [default: 10]"),
        click.option(
            "--interval",
            envvar="PENSTOCK_INTERVAL",
            type=float,
            help="Longest pause between looks while idle, in seconds. [default: 1]",
        ),
        click.option(
            "--limit", envvar="PENSTOCK_LIMIT", type=int, help="Most running tasks over all watchers. [default: none]"
        ),
        click.option(
            "--max-active",
            envvar="PENSTOCK_MAX_ACTIVE",
            multiple=True,
            metavar="N | TASK_ID=N",
            help="Most running tasks of each workflow, or of the one named, over all watchers; repeatable.",
        ),
        click.option(
            "--queue", "queues", envvar="PENSTOCK_QUEUES", multiple=True, help="Serve this queue; repeatable."
        ),
        click.option("--lease", envvar="PENSTOCK_LEASE", type=float, help="Seconds until silence means dead. [20]"),
        click.option("--heartbeat", envvar="PENSTOCK_HEARTBEAT", type=float, help="Seconds between beats. [5]"),
        click.option(
            "--heartbeat-in",
            envvar="PENSTOCK_HEARTBEAT_IN",
            type=click.Choice(["process", "thread"]),
            help="Where the beats come from; no program can stall a process. [default: process]",
        ),
        click.option(
            "--stall",
            envvar="PENSTOCK_STALL",
            type=float,
            help="Seconds after which a watcher whose loop stands still is killed. [300]",
        ),
        click.option(
            "--statement-timeout",
            envvar="PENSTOCK_STATEMENT_TIMEOUT",
            type=float,
            help="Longest statement in seconds. [10, at most --lease]",
        ),
        click.option("--grace", envvar="PENSTOCK_GRACE", type=float, help="Seconds to finish in after SIGTERM. [10]"),
        click.option(
            "--ageing",
            envvar="PENSTOCK_AGEING",
            type=float,
            help="Seconds that a ready task waits for each step by which its priority is raised; 0 for never. [300]",
        ),
        click.option(
            "--retention",
            envvar="PENSTOCK_RETENTION",
            type=DURATION,
            metavar="TIME",
            help="How long ended flows are kept: 90s, 12h, 30d; ms_workflow.retention_s wins. [default: for ever]",
        ),
        click.option("--label", envvar="PENSTOCK_LABEL", help="A name for people to know this watcher by."),
        click.option(
            "--ignore-blocks",
            envvar="PENSTOCK_IGNORE_BLOCKS",
            is_flag=True,
            help="As in Flower: what follows an ignored task never runs.",
        ),
        click.option(
            "--keep-attempts", envvar="PENSTOCK_KEEP_ATTEMPTS", is_flag=True, help="Keep a row for every attempt."
        ),
        click.option(
            "--async-slots",
            envvar="PENSTOCK_ASYNC_SLOTS",
            type=int,
            help="Tasks that may wait on the event loop at once, beside --workers. [default: 1000]",
        ),
        click.option(
            "--max-stuck",
            envvar="PENSTOCK_MAX_STUCK",
            type=int,
            help="Programs in threads that may be stuck at once; with one more, drain and exit with 75. [default: 100]",
        ),
        click.option(
            "--max-losses",
            envvar="PENSTOCK_MAX_LOSSES",
            type=int,
            help="Suspend a task, as `lost`, that has lost so many watchers while it ran. [default: 10]",
        ),
        click.option(
            "--stop-margin",
            envvar="PENSTOCK_STOP_MARGIN",
            type=float,
            help="Seconds before the end of a lease at which exclusive tasks stop if the database is silent. [4]",
        ),
        click.option(
            "--child-memory-mb",
            envvar="PENSTOCK_CHILD_MEMORY_MB",
            type=int,
            help="Address space of a child process, in MiB. [default: no limit]",
        ),
        click.option(
            "--child-max-rss-mb",
            envvar="PENSTOCK_CHILD_MAX_RSS_MB",
            type=int,
            help="Replace a child process that holds more memory than this after a task, in MiB. [default: 1024]",
        ),
        click.option(
            "--child-max-processes",
            envvar="PENSTOCK_CHILD_MAX_PROCESSES",
            type=int,
            help="Processes that a program may have started at once in a child process. [default: 64]",
        ),
        click.option(
            "--child-tasks",
            envvar="PENSTOCK_CHILD_TASKS",
            type=int,
            help="Replace a child process after so many tasks. [default: 1000]",
        ),
        click.option(
            "--child-env",
            envvar="PENSTOCK_CHILD_ENV",
            multiple=True,
            metavar="NAME",
            help="Let child processes see this variable although its name looks like a secret's; repeatable.",
        ),
        click.option(
            "--db-wait", envvar="PENSTOCK_DB_WAIT", type=float, help="Seconds to wait for the database at start. [60]"
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function
