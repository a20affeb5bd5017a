"""The options of a watcher, for every command that runs one; Flower's four first."""

from __future__ import annotations

import click

from penstock.durations import DURATION
from penstock.options import ROLES, F

_SECRETS = [
    click.option(
        "--secret-env",
        "secret_env",
        envvar="PENSTOCK_SECRET_ENV",
        multiple=True,
        metavar="PATTERN",
        help='Variables that {"$secret": "env:NAME"} may name; repeatable. [default: all but Penstock\'s own]',
    ),
    click.option(
        "--secret-dir",
        envvar="PENSTOCK_SECRET_DIR",
        metavar="FOLDER",
        help='Where the files are that {"$secret": "file:NAME"} may name. [default: nowhere]',
    ),
]
"""Where tasks may be given secrets from; of remote workers, too."""

_NETWORKS = [
    click.option(
        "--http-network",
        "http_networks",
        envvar="PENSTOCK_HTTP_NETWORKS",
        multiple=True,
        metavar="NETWORK[:PORT]",
        help="Let programs send requests to this internal network: 127.0.0.1, 10.0.0.0/8, 10.1.2.3:8080, [::1]:8000;"
        " repeatable. [default: none, only the internet]",
    ),
]
"""Where tasks may send requests to; of remote workers, too."""

_WORK = [
    click.option("--workers", envvar="PENSTOCK_WORKERS", type=int, help="Tasks at once. [default: 10]"),
    click.option(
        "--interval",
        envvar="PENSTOCK_INTERVAL",
        type=float,
        help="Pause between looks while idle, in seconds; up to 1.6 times as long after twenty in vain. [default: 1]",
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
    click.option("--queue", "queues", envvar="PENSTOCK_QUEUES", multiple=True, help="Serve this queue; repeatable."),
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
    *_SECRETS,
    *_NETWORKS,
    click.option(
        "--sql-role",
        envvar="PENSTOCK_SQL_ROLE",
        type=click.Choice(ROLES),
        help="What rows of kr_command may ask for: also apply (author), or tokens (admin). [default: operator]",
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
        "--log-interval",
        envvar="PENSTOCK_LOG_INTERVAL",
        type=float,
        help="Seconds between two parts of the log of a task that runs; 0: its log is there when it ends. [1]",
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
]
"""How much it does, of what, and what becomes of it."""

_LEASE = [
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
    click.option(
        "--stop-margin",
        envvar="PENSTOCK_STOP_MARGIN",
        type=float,
        help="Seconds before the end of a lease at which exclusive tasks stop if the database is silent. [4]",
    ),
    click.option("--grace", envvar="PENSTOCK_GRACE", type=float, help="Seconds to finish in after SIGTERM. [10]"),
    click.option(
        "--db-wait", envvar="PENSTOCK_DB_WAIT", type=float, help="Seconds to wait for the database at start. [60]"
    ),
]
"""How long it may be silent, and when it gives up what it does."""

_CHILDREN = [
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
]
"""What programs in child processes may use."""


def worker_options(function: F) -> F:
    """Those of a watcher that a remote worker has as well."""
    for option in reversed([*_SECRETS, *_NETWORKS]):
        function = option(function)
    return function


def watcher_options(function: F) -> F:
    for option in reversed([*_WORK, *_LEASE, *_CHILDREN]):
        function = option(function)
    return function
