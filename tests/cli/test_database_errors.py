"""A database that cannot be used: one line that says what is wrong and what to do, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from factories import sql
from sqlalchemy import make_url

from engine.database import Database

CLIENT = (("ps",), ("show", "x"), ("recover", "x"), ("register", "x"), ("db", "check"))
SERVERS = (("watch", "--db-wait", "0"), ("serve", "--db-wait", "0", "--port", "0"), ("up", "--db-wait", "0"))


def refused(result: Any, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("penstock: ")]
    assert len(lines) == 1, result.stderr
    for part in words:
        assert part in lines[0]


@pytest.mark.parametrize("command", [*CLIENT, *SERVERS, ("db", "init")], ids=" ".join)
@pytest.mark.parametrize(
    "url, words",
    [
        ("nonsense", "no database URL"),
        ("oracle://x/y", "'oracle'"),
        ("mysql+mysqldb://x/y", "pip install pymysql"),
        ("sqlite://", "sqlite:///file.db"),
    ],
)
def test_a_url_that_cannot_be_used(penstock: Any, command: tuple[str, ...], url: str, words: str) -> None:
    refused(penstock(*command, "--db", url), 1, words)


@pytest.mark.parametrize("command", [*CLIENT, ("db", "init"), ("db", "upgrade")], ids=" ".join)
@pytest.mark.parametrize("url", ["mysql://root@127.0.0.1:1/x", "postgresql://root@127.0.0.1:1/x"])
def test_nobody_answers(penstock: Any, command: tuple[str, ...], url: str) -> None:
    refused(penstock(*command, "--db", url), 5, "127.0.0.1:1/x cannot be reached", "--db")


@pytest.mark.parametrize("command", SERVERS, ids=lambda command: command[0])
def test_a_service_gives_up_after_its_wait(penstock: Any, command: tuple[str, ...]) -> None:
    refused(penstock(*command, "--db", "mysql://root@127.0.0.1:1/x"), 1, "did not answer within 0 seconds")


@pytest.mark.parametrize("command", [*CLIENT, SERVERS[0], SERVERS[1]], ids=" ".join)
def test_no_tables(penstock: Any, empty_url: str, command: tuple[str, ...]) -> None:
    refused(penstock(*command, "--db", empty_url), 1, "holds no Penstock tables", "penstock db init")


def test_no_such_database(penstock: Any, url: str, kind: str) -> None:
    if kind == "sqlite":
        pytest.skip("a file that is not there has no tables: see above")
    gone = make_url(url).set(database="no_such_database").render_as_string(hide_password=False)
    for command in ("ps", "check"):
        result = penstock(command, "--db", gone)
        assert result.exit_code == 1
        assert "no_such_database" in result.output
        assert "Traceback" not in result.output


def test_a_file_that_is_no_database(penstock: Any) -> None:
    Path("text.db").write_text("this is no database, but a letter to my grandmother" * 100)
    for command in (*CLIENT, ("db", "init")):
        refused(penstock(*command, "--db", "sqlite:///text.db"), 1, "text.db", "not a database")


@pytest.fixture
def revised(db: Database) -> Any:
    """Set the revision of the database, and set it back."""
    with db.read() as conn:
        right = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()

    def revise(number: str) -> None:
        sql(db, "UPDATE alembic_version SET version_num = :number", number=number)

    yield revise
    revise(str(right))


def test_tables_of_another_release(penstock: Any, url: str, revised: Any) -> None:
    everyone = (*CLIENT, SERVERS[0], SERVERS[1])
    revised("0000")
    for command in everyone:
        refused(penstock(*command, "--db", url), 1, "revision 0000", "penstock db upgrade")
    revised("9999")
    for command in (*everyone, SERVERS[2], ("db", "init"), ("db", "upgrade")):
        refused(penstock(*command, "--db", url), 1, "revision 9999", "install the newer Penstock")


def test_check_reports_everything_at_once(penstock: Any, db: Database, url: str) -> None:
    for task_id, program in (("a", "Nope"), ("b", "Neither")):
        sql(db, "INSERT INTO ms_task_definition (task_id, task_seq, program) VALUES (:t, 1, :p)", t=task_id, p=program)
    sql(db, "INSERT INTO ms_task_edge (task_id, task_seq, depends_task_seq) VALUES ('b', 1, 7)")
    result = penstock("check", "--db", url, "--workers", "0", "--json")
    assert result.exit_code == 1
    problems = [item for item in json.loads(result.stdout) if item["level"] == "problem"]
    assert [item["area"] for item in problems] == ["settings", "definitions", "definitions"]
    assert "workers" in problems[0]["words"]
    assert "'Nope'" in problems[1]["words"]
    plain = penstock("check", "--db", url, "--workers", "0")
    assert plain.exit_code == 1
    assert plain.stdout.count("✖") == 3
    sql(db, "DELETE FROM ms_task_edge")
    sql(db, "DELETE FROM ms_task_definition")
    assert penstock("check", "--db", url).exit_code == 0


def test_check_goes_on_without_a_database(penstock: Any) -> None:
    result = penstock("check", "--db", "mysql://root@127.0.0.1:1/x", "--workers", "0", "--json")
    assert result.exit_code == 1
    found = {item["area"]: item for item in json.loads(result.stdout) if item["level"] == "problem"}
    assert set(found) == {"settings", "database"}
    assert "cannot be reached" in found["database"]["words"]
