"""The schema: files, migrations and code say the same, a killed migrator is run again, and rows keep their bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from databases import Databases
from factories import enlisted, flow, rows, run_all, sql
from sqlalchemy import inspect, select, text

from engine import migrate, schema, views
from engine.database import Database, open_database
from engine.errors import (
    BadDatabaseURL,
    FatalDatabaseError,
    PenstockError,
    PoisonData,
    SchemaMissing,
    SchemaTooNew,
    SchemaTooOld,
)
from engine.tables import metadata, task_definition, task_stat

FLOWERS_14 = ["task_id", "task_seq", "program", "task_priority"] + [
    f"param{number}_{part}" for number in range(1, 6) for part in ("key", "value")
]
FLOWERS_12 = [
    "task_flow_id",
    "task_exec_seq",
    "depends_task_exec_seq",
    "task_id",
    "task_seq",
    "exec_status",
    "task_priority",
    "parameters",
    "registered_ts",
    "started_ts",
    "finished_ts",
    "suspended_ts",
]


@pytest.fixture
def empty(empty_url: str) -> Any:
    db = open_database(empty_url)
    yield db
    db.close()


def run_file(db: Database, statements: list[str]) -> None:
    with db.transaction() as conn:
        for statement in statements:
            views.run(conn, statement)


def file_of(db: Database) -> list[str]:
    with db.read():
        pass  # MariaDB or MySQL: the server says it at the first connection
    return schema.statements_of((schema.SQL_ROOT / "schema" / f"{db.flavour}.sql").read_text())


def plainly(part: Any) -> str:
    """A description with its conditions as text."""
    options = {name: str(value) for name, value in (part.get("dialect_options") or {}).items()}
    return repr({**part, "dialect_options": options})


def reflected(db: Database) -> dict[str, Any]:
    """Everything that the database says of its tables."""
    with db.read() as conn:
        look = inspect(conn)
        found: dict[str, Any] = {}
        for table in sorted(look.get_table_names()):
            if table == "alembic_version":
                continue
            found[table] = {
                "columns": [
                    (column["name"], repr(column["type"]), column["nullable"], str(column["default"]))
                    for column in look.get_columns(table)
                ],
                "key": look.get_pk_constraint(table)["constrained_columns"],
                "indexes": sorted(map(plainly, look.get_indexes(table))),
                "unique": sorted(map(plainly, look.get_unique_constraints(table))),
                "checks": sorted(map(plainly, look.get_check_constraints(table))),
                "options": look.get_table_options(table),
            }
    return found


@pytest.mark.parametrize("flavour", schema.FLAVOURS)
def test_files_are_written_from_the_tables(flavour: str) -> None:
    file = schema.SQL_ROOT / "schema" / f"{flavour}.sql"
    assert file.read_text() == schema.schema_sql(flavour), "run `make schema`"


def test_the_newest_migration_is_the_revision_of_the_code() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.SQL_ROOT / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


def test_migrated_equals_fresh(empty: Database, kind: str, databases: Databases) -> None:
    run_file(empty, file_of(empty))
    migrated = open_database(databases.empty(kind))
    migrate.init(migrated)
    assert reflected(migrated) == reflected(empty)
    assert set(reflected(empty)) == {table.name for table in metadata.sorted_tables}
    assert migrate.differences(migrated) == []
    schema.verify(migrated)
    migrated.close()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_the_servers_are_told_how_to_keep_the_tables(empty: Database, kind: str) -> None:
    migrate.init(empty)
    found = {name: parts["options"] for name, parts in reflected(empty).items()}
    if kind == "mariadb":
        assert {options["mysql_row_format"] for options in found.values()} == {"DYNAMIC"}
    else:
        assert found["kr_task_stat"]["postgresql_with"]["autovacuum_vacuum_scale_factor"] == "0.01"
        assert found["kr_watcher"]["postgresql_with"]["fillfactor"] == "50"
        assert "postgresql_with" not in found["kr_event"], "rows that are only added"


def test_differences_are_found(empty: Database) -> None:
    migrate.init(empty)
    sql(empty, "ALTER TABLE kr_event ADD COLUMN mine INTEGER")
    sql(empty, "CREATE TABLE somebody_elses (a INTEGER PRIMARY KEY)")
    assert migrate.differences(empty) == ["remove column: kr_event mine"]


@pytest.mark.parametrize("made", [0.0, 0.1, 0.5, 0.95, 1.0])
def test_a_killed_migration_is_run_again(empty: Database, made: float) -> None:
    """Where DDL commits by itself, any number of statements may have been made, and the revision is not written."""
    statements = file_of(empty)
    run_file(empty, statements[: round(len(statements) * made)])
    migrate.upgrade(empty)
    migrate.upgrade(empty)
    assert set(reflected(empty)) == {table.name for table in metadata.sorted_tables}
    assert migrate.differences(empty) == []
    schema.verify(empty)


def test_init_again_changes_nothing(empty: Database) -> None:
    migrate.init(empty)
    sql(empty, "UPDATE ms_task_definition SET task_priority = 7")
    migrate.init(empty)
    assert [row.task_priority for row in rows(empty, task_definition)] == [7, 7, 7]


def test_migrators_at_once_all_succeed(empty: Database) -> None:
    code = (
        "import sys; from engine import migrate; from engine.database import open_database;"
        " migrate.init(open_database(sys.argv[1]))"
    )
    url = empty.url.render_as_string(hide_password=False)
    at_once = [
        subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, cwd=schema.SQL_ROOT.parent)
        for _ in range(3)
    ]
    ends = [(process.communicate(timeout=60)[1].decode()[-500:], process.returncode) for process in at_once]
    assert ends == [("", 0)] * 3
    assert len(rows(empty, task_definition)) == 3
    schema.verify(empty)


def test_reset_empties(empty: Database) -> None:
    migrate.init(empty)
    migrate.reset(empty)
    assert rows(empty, task_definition) == []
    assert migrate.differences(empty) == []
    schema.verify(empty)


def test_verify_says_what_to_do(empty: Database) -> None:
    with pytest.raises(SchemaMissing, match="run `penstock db init`"):
        schema.verify(empty)
    migrate.upgrade(empty)
    sql(empty, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(SchemaTooOld, match="revision 0000, this code needs 0008: run `penstock db upgrade`"):
        schema.verify(empty)
    sql(empty, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match="9999, newer than the 0008 of this code: install the newer Penstock"):
        schema.verify(empty)
    sql(empty, "DELETE FROM alembic_version")
    with pytest.raises(SchemaMissing):
        schema.verify(empty)


# --- what people type -------------------------------------------------------------------------------------------------


def test_flowers_columns_come_first(db: Database) -> None:
    with db.read() as conn:
        look = inspect(conn)
        assert [column["name"] for column in look.get_columns("ms_task_definition")] == FLOWERS_14
        assert [column["name"] for column in look.get_columns("kr_task_stat")][:12] == FLOWERS_12


def test_flowers_inserts(db: Database) -> None:
    sql(
        db,
        "INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority)"
        " VALUES ('example', 1, 'EchoRandomTimeSleep', 0);",
    )
    sql(
        db,
        "INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority, param1_key, param1_value)"
        " VALUES ('example', 2, 'EchoParamTimeSleep', 0, 'SLEEP_TIME_SECOND', '3');",
    )
    sql(
        db,
        "INSERT INTO ms_task_definition(task_id, task_seq, program, param1_key, param1_value, param2_key, param2_value)"
        " VALUES ('example', 3, 'HTTPPostRequest', 'URL', 'http://localhost', 'BODY', '{\"id\"\\: \"test\"}');",
    )
    made = sorted(rows(db, task_definition), key=lambda row: row.task_seq)
    assert [row.task_priority for row in made] == [0, 0, 0]
    assert made[2].param2_value == '{"id": "test"}'


def test_inserts_without_column_names(db: Database) -> None:
    nulls = ", ".join(["NULL"] * 10)
    sql(db, f"INSERT INTO ms_task_definition VALUES ('w', 1, 'Noop', 19, {nulls})")
    assert rows(db, task_definition)[0].task_priority == 19


@pytest.mark.parametrize("priority", ["20", "-21", "NULL", "1e30"])
@pytest.mark.parametrize("table", ["ms_task_definition", "kr_task_stat"])
def test_priorities_out_of_range_are_refused(db: Database, table: str, priority: str) -> None:
    inserts = {
        "ms_task_definition": "(task_id, task_seq, program, task_priority) VALUES ('w', 1, 'P', ",
        "kr_task_stat": "(task_flow_id, task_exec_seq, task_id, task_seq, parameters, task_priority)"
        " VALUES ('f', 1, 'w', 1, '{}', ",
    }
    with pytest.raises(PoisonData):
        sql(db, f"INSERT INTO {table}{inserts[table]}{priority})")


@pytest.mark.parametrize("status", ["4", "-1", "NULL", "10"])
def test_statuses_that_there_are_not_are_refused(db: Database, status: str) -> None:
    with pytest.raises(PoisonData):
        sql(
            db,
            "INSERT INTO kr_task_stat(task_flow_id, task_exec_seq, task_id, task_seq, parameters, exec_status)"
            f" VALUES ('f', 1, 'w', 1, '{{}}', {status})",
        )


@pytest.mark.parametrize("seq", ["1.5", "1e30", "1000000000000000000000000000000", "'abc'", "NULL", "1e400"])
def test_a_number_that_is_no_whole_number_is_never_stored(db: Database, seq: str) -> None:
    try:
        sql(db, f"INSERT INTO ms_task_definition(task_id, task_seq, program) VALUES ('w', {seq}, 'P')")
    except PenstockError:
        assert rows(db, task_definition) == []
    else:
        assert seq == "1.5"
        assert [row.task_seq for row in rows(db, task_definition)] == [2], "rounded, as the server does"


def test_ids_are_compared_byte_by_byte(db: Database) -> None:
    ids = ["Example", "example", "example ", " example", "exämple", "exa\u0308mple", "EXAMPLE", "example\t"]
    for task_id in ids:
        sql(db, "INSERT INTO ms_task_definition(task_id, task_seq, program) VALUES (:id, 1, 'P')", id=task_id)
    for task_id in ids:
        with db.read() as conn:
            found = select(task_definition.c.task_id).where(task_definition.c.task_id == task_id)
            assert list(conn.scalars(found)) == [task_id]
    with pytest.raises(PoisonData):
        sql(db, "INSERT INTO ms_task_definition(task_id, task_seq, program) VALUES ('example', 1, 'P')")


def test_a_minimal_task_row_gets_its_defaults(db: Database) -> None:
    columns = "task_flow_id, task_exec_seq, task_id, task_seq, parameters"
    sql(db, f"INSERT INTO kr_task_stat({columns}) VALUES ('f', 1, 'w', 1, '{{}}')")
    [row] = rows(db, task_stat)
    assert (row.exec_status, row.wait_count, row.depends_task_exec_seq, row.task_priority) == (0, None, -1, 0)
    assert (row.queue, row.claims, row.attempt, row.losses) == ("default", 0, 0, 0)


def test_rows_that_are_no_text_are_refused_where_only_a_check_can(db: Database) -> None:
    if db.can.row_locks:
        pytest.skip("the column's type refuses it, or makes a text of it")
    for bad in ("x'00ff'", "'a' || char(0)"):
        with pytest.raises(PoisonData):
            sql(db, f"INSERT INTO ms_task_definition(task_id, task_seq, program) VALUES ({bad}, 1, 'P')")
        with db.read() as conn:
            assert conn.execute(text("SELECT COUNT(*) FROM ms_task_definition")).scalar() == 0


def test_a_revision_without_a_script_is_refused_in_words(db: Database, url: str) -> None:
    sql(db, "UPDATE alembic_version SET version_num = '0000'")
    try:
        with pytest.raises(FatalDatabaseError, match="cannot be brought to revision"):
            migrate.upgrade(db)
    finally:
        sql(db, f"UPDATE alembic_version SET version_num = '{schema.REVISION}'")


def test_a_file_in_a_folder_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadDatabaseURL, match="is no folder"):
        open_database(f"sqlite:///{tmp_path}/nowhere/file.db")


# --- upgrades ---------------------------------------------------------------------------------------------------------


def test_a_database_of_the_first_revision_is_brought_up_with_its_rows(empty: Database) -> None:
    """As it was left by the release that knew chains and joins alone: a flow is under way, and goes on."""
    with empty.transaction() as conn:
        command.upgrade(migrate._config(conn), "0001")
    columns = "task_flow_id, task_exec_seq, depends_task_exec_seq, task_id, task_seq, exec_status, parameters, program"
    for seq, status, count in ((1, 3, -1), (2, 0, 0), (3, 0, 1)):
        values = f"'f', {seq}, {seq - 1 or -1}, 'w', {seq}, {status}, '{{}}', 'Noop', {count}"
        sql(empty, f"INSERT INTO kr_task_stat({columns}, wait_count) VALUES ({values})")
    sql(empty, "INSERT INTO kr_flow_stat(task_flow_id, task_id, task_count, finish_count) VALUES ('f', 'w', 3, 1)")
    with pytest.raises(SchemaTooOld, match="run `penstock db upgrade`"):
        schema.verify(empty)
    migrate.upgrade(empty)
    schema.verify(empty)
    assert migrate.differences(empty) == []
    enlisted(empty)
    assert [key.seq for key in run_all(empty)] == [2, 3]
    assert flow(empty, "f").flow_status == 3
