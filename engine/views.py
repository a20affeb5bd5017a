"""The views of sql/views: which there are, their text for each flavour, and those that the engine itself reads.

A view has one file where the databases agree, and one per flavour where they do not; MySQL reads MariaDB's where it has
none of its own. docs/sql.md explains every column.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Integer, SmallInteger, String, column, inspect, table

import engine
from engine.database import flavour_of
from engine.dialects.types import Id, LongText, UtcTimestamp

SQL_ROOT: Final = Path(engine.__file__).resolve().parent.parent / "sql"
VIEWS: Final = (
    "v_clock",
    "v_offer",
    "v_flow",
    "v_task",
    "v_waiting",
    "v_queue",
    "v_watcher",
    "v_workflow_version_field",
    "v_workflow_version_diff",
)
"""In the order in which they are made: each reads only those before it."""
_READS_LIKE: Final = {"mysql": "mariadb"}
# whoever reads a view needs to be allowed to read the tables; else it would break with the account that made it
_HEADS: Final = dict.fromkeys(("mariadb", "mysql"), "CREATE SQL SECURITY INVOKER VIEW")

waiting: Final[Any] = table(
    "v_waiting",
    column("task_flow_id", Id(256)),
    column("task_exec_seq", BigInteger),
    column("task_id", Id(256)),
    column("task_seq", BigInteger),
    column("name", Id(128)),
    column("program", Id(256)),
    column("queue", Id(64)),
    column("exec_status", SmallInteger),
    column("status", String),
    column("reason", String(64)),
    column("cause", String),
    column("since_ts", UtcTimestamp),
    column("until_ts", UtcTimestamp),
    column("by_whom", Id(256)),
    column("needs_flow_id", Id(256)),
    column("needs_exec_seq", BigInteger),
    column("needs_status", String),
    column("wait_id", Id(36)),
    column("wait_name", Id(256)),
    column("wait_key", Id(256)),
    column("limit_scope", String(16)),
    column("limit_name", Id(256)),
    column("limit_most", Integer),
    column("limit_running", Integer),
    column("watcher_id", Id(64)),
    column("details", LongText),
    column("remedy", String),
)
offer: Final[Any] = table("v_offer", column("watcher_id", Id(64)), column("queue", Id(64)), column("program", Id(256)))


def view_file(name: str, flavour: str) -> Path:
    """The file that holds a view for this flavour."""
    folder = SQL_ROOT / "views"
    own = [folder / f"{name}.{one}.sql" for one in (flavour, _READS_LIKE.get(flavour, flavour))]
    return next((path for path in own if path.exists()), folder / f"{name}.sql")


def view_sql(name: str, flavour: str) -> str:
    """The statement that makes a view, under a comment that says what a row of it is."""
    text = view_file(name, flavour).read_text().strip()
    return text.replace("CREATE VIEW", _HEADS.get(flavour, "CREATE VIEW"), 1)


def missing(connection: Connection) -> list[str]:
    """The views that the database does not have."""
    there = set(inspect(connection).get_view_names())
    return [name for name in VIEWS if name not in there]


def make_missing(connection: Connection) -> None:
    """Create the views that are not there. A revision that changes one drops it first, with those that read it."""
    flavour = flavour_of(connection.dialect)
    for name in missing(connection):
        run(connection, view_sql(name, flavour).rstrip(";"))


def run(connection: Connection, statement: str) -> None:
    """Run a statement as it stands in a file: some drivers take a percent sign for a place of a parameter."""
    doubles = connection.dialect.paramstyle in ("format", "pyformat")
    connection.exec_driver_sql(statement.replace("%", "%%") if doubles else statement)


def drop_all(connection: Connection) -> None:
    """Before tables that they read can be dropped."""
    for name in reversed(VIEWS):
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
