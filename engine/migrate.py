"""Create, upgrade, check and empty a database: the only place that imports alembic.

One process at a time changes a schema, under the database's own lock. MariaDB and MySQL commit with every DDL
statement, so each step looks first whether it has been made already, and a migrator that was killed is run again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, Table, inspect, update

from engine.database import Database, flavour_of
from engine.errors import FatalDatabaseError
from engine.failpoints import hit
from engine.schema import REVISION, SQL_ROOT, statements_of
from engine.tables import metadata, task_definition
from engine.views import drop_all, make_missing, missing, run

SAMPLE_URL = "http://127.0.0.1:8000/echo"
_CREATES = re.compile(r"CREATE (?:UNIQUE )?(TABLE|INDEX) (\w+)(?: ON (\w+))?")
_DROPS = re.compile(r"DROP INDEX (\w+) ON (\w+)")
_ADDS = re.compile(r"ALTER TABLE (\w+) ADD COLUMN (\w+)")
_CHECKS = re.compile(r"ALTER TABLE (\w+) (ADD|DROP) CONSTRAINT (\w+)")


def upgrade(db: Database) -> None:
    """Bring the database to this code's revision, from nothing or from any earlier one."""
    _locked(db, _to_head)


def init(db: Database, *, samples: bool = True, sample_url: str | None = None) -> None:
    """Create the tables, and the sample workflow where there is none yet. Running it again changes nothing, but that
    a `sample_url` becomes the address to which the sample posts, wherever a person has not set another."""

    def work(connection: Connection) -> None:
        _to_head(connection)
        if samples:
            _load_samples(connection, sample_url or SAMPLE_URL)

    _locked(db, work)


def _load_samples(connection: Connection, url: str) -> None:
    if connection.exec_driver_sql("SELECT 1 FROM ms_task_definition WHERE task_id = 'example'").first() is None:
        for statement in statements_of((SQL_ROOT / "samples" / "example.sql").read_text()):
            run(connection, statement)
    step = task_definition.c
    mine = step.task_id == "example", step.task_seq == 3, step.param1_value.like("http://%:%/echo")
    connection.execute(update(task_definition).where(*mine).values(param1_value=url))


def differences(db: Database) -> list[str]:
    """What the database has otherwise than the code expects, one line each; empty if nothing."""
    with db.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False, "target_metadata": metadata})
        found = [_describe(item) for item in compare_metadata(context, metadata) if _is_ours(item, db)]
        return found + [f"add view: {name}" for name in missing(connection)]


def reset(db: Database) -> None:
    """Drop every table of Penstock, with all that is in them, and create them empty."""

    def work(connection: Connection) -> None:
        drop_all(connection)
        connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
        for table in reversed(metadata.sorted_tables):
            table.drop(connection, checkfirst=True)
        _to_head(connection)

    _locked(db, work)


def run_script(connection: Connection, name: str) -> None:
    """Run sql/migrations/<name>.<flavour>.sql, leaving out what exists already. Called by the migrations."""
    script = (SQL_ROOT / "migrations" / f"{name}.{flavour_of(connection.dialect)}.sql").read_text()
    for statement in statements_of(script):
        if not _is_made(connection, statement):
            run(connection, statement)
            hit("migrate.between_steps")
    hit("migrate.before_revision")


def _locked(db: Database, work: Callable[[Connection], None]) -> None:
    """Every step looks first whether it has been made, so that the whole may be tried again."""

    def locked(connection: Connection) -> None:
        with db.dialect.migration_lock(connection):
            work(connection)

    db.transact(locked)


def _to_head(connection: Connection) -> None:
    try:
        command.upgrade(_config(connection), "head")
    except CommandError as error:  # a revision that this code has no script for
        raise FatalDatabaseError(f"cannot be brought to revision {REVISION}: {error}") from error
    make_missing(connection)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SQL_ROOT / "migrations"))
    config.attributes["connection"] = connection
    return config


def _is_made(connection: Connection, statement: str) -> bool:
    if added := _ADDS.match(statement):
        table, name = added.groups()
        return any(column["name"] == name for column in inspect(connection).get_columns(table))
    if dropped := _DROPS.match(statement):
        name, table = dropped.groups()
        return not _has_index(connection, table, name)
    if checked := _CHECKS.match(statement):
        table, verb, name = checked.groups()
        there = any(check["name"] == name for check in inspect(connection).get_check_constraints(table))
        return there == (verb == "ADD")
    found = _CREATES.match(statement)
    if found is None:
        return False
    kind, name, table = found.groups()
    return inspect(connection).has_table(name) if kind == "TABLE" else _has_index(connection, table, name)


def _has_index(connection: Connection, table: str, name: str) -> bool:
    return any(index["name"] == name for index in inspect(connection).get_indexes(table))


def _describe(item: Any) -> str:
    kind, *parts = item if isinstance(item, tuple) else item[0]
    names = [getattr(part, "name", None) or str(part) for part in parts if part is not None]
    return f"{kind.replace('_', ' ')}: {' '.join(names)}"


def _is_ours(item: Any, db: Database) -> bool:
    """Tables of others in the same database are theirs to have, and an index is for the databases that it fits."""
    kind, *parts = item if isinstance(item, tuple) else item[0]
    if kind == "add_index":
        meant = next(index for index in metadata.tables[_table_of(parts[0])].indexes if index.name == parts[0].name)
        return bool(meant.info.get("partial", db.can.partial_indexes) == db.can.partial_indexes)
    return not (kind in ("remove_table", "remove_index") and _table_of(parts[0]) not in metadata.tables)


def _table_of(part: Any) -> str:
    return str(part.name if isinstance(part, Table) else part.table.name)
