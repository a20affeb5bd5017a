"""Roles on the servers: each can do what it is for, with the engine's own calls, and is refused everything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from awaiting import awaiting, wait_of
from databases import Databases
from factories import claim, define, flow, rows, settle_as, sql, start
from letting_in import make_token, token_id_of
from sqlalchemy import insert, text
from sqlalchemy.engine import make_url

from engine import migrate, schema, tokens
from engine.access import Actor, Role
from engine.commands import COMMANDS, Ask, carry_out
from engine.commands.asked_by_sql import carry_out_asked
from engine.database import Database, open_database
from engine.errors import PenstockError
from engine.explain import explain
from engine.retention import Wanted, prune, prune_records
from engine.schema import SQL_ROOT, statements_of
from engine.settle import Settlement
from engine.tables import command, metadata, task_option, task_stat, workflow
from engine.views import VIEWS, run
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

ROLES = ("reader", "operator", "register", "watcher", "migrator")
HIDDEN = {"ms_token", "ms_principal"}
As = Callable[[str], Database]


@pytest.fixture(params=["mariadb", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def owner(kind: str, databases: Databases) -> Iterator[Database]:
    """A new database with the tables and the grants, opened by who made it."""
    db = open_database(databases.empty(kind), role="test")
    migrate.init(db, samples=False)
    for _ in range(2):  # it may be repeated
        grant(db)
    yield db
    db.close()


def grant(db: Database) -> None:
    file = "postgresql" if db.can.partial_indexes else "mariadb"
    with db.transaction() as conn:
        for statement in statements_of((SQL_ROOT / "grants" / f"{file}.sql").read_text()):
            run(conn, statement)


@pytest.fixture
def granted(owner: Database, kind: str) -> Iterator[As]:
    """`granted("reader")` is the database as somebody with that role alone sees it."""
    opened: list[Database] = []

    def enter(role: str) -> Database:
        account = f"test_{role}"
        with owner.transaction() as conn:
            for statement in _account(kind, account, role):
                conn.execute(text(statement))
        db = open_database(make_url(owner.address).set(username=account).render_as_string(False), role="test")
        opened.append(db)
        return db

    yield enter
    for db in opened:
        db.close()


def _account(kind: str, account: str, role: str) -> list[str]:
    if kind == "postgresql":
        drop = f"DROP ROLE IF EXISTS {account}"
        made = [drop, f"CREATE ROLE {account} LOGIN IN ROLE penstock_{role}"]
        return [*made, f"ALTER ROLE {account} SET role TO penstock_{role}"] if role == "migrator" else made
    who = f"'{account}'@'%'"
    return [
        f"CREATE OR REPLACE USER {who}",
        f"GRANT penstock_{role} TO {who}",
        f"SET DEFAULT ROLE penstock_{role} FOR {who}",
    ]


def refused(db: Database, statement: str) -> None:
    """The server says that this account may not."""
    with pytest.raises(PenstockError) as caught:
        sql(db, statement)
    assert re.search("denied|permission|must be owner", str(caught.value)), caught.value


def allowed(db: Database, statement: str) -> None:
    sql(db, statement)


def watch(db: Database) -> None:
    """A whole watcher, until there is nothing more to do."""
    settings = Settings(interval_s=0.05, heartbeat_in="thread", retention_s=None)
    Watcher(db, build_catalogue(autoload=False), settings).run(until_idle=True)


DDL = (
    "CREATE TABLE mine (a INTEGER)",
    "ALTER TABLE kr_event ADD COLUMN mine INTEGER",
    "DROP TABLE kr_event",
    "DROP VIEW v_queue",
    "CREATE VIEW v_mine AS SELECT 1 AS a",
    "CREATE INDEX ix_mine ON kr_event (actor)",
)


# --- what the files say -----------------------------------------------------------------------------------------------


def test_the_files_know_every_table_and_view() -> None:
    everything = {table.name for table in metadata.sorted_tables} | set(VIEWS) | {"alembic_version"}
    for name in ("postgresql", "mariadb"):
        told = (SQL_ROOT / "grants" / f"{name}.sql").read_text()
        named = set(re.findall(r"\b(?:ms|kr|v)_\w+|alembic_version\b", re.sub(r"--.*", "", told)))
        named = {one for one in named if not one.endswith("_seq")}
        assert named == everything, name


@pytest.mark.parametrize("role", ROLES[:-1])
def test_all_but_the_migrator_read_and_change_no_table(granted: As, role: str) -> None:
    db = granted(role)
    for name in (*(table.name for table in metadata.sorted_tables if table.name not in HIDDEN), *VIEWS):
        with db.read() as conn:
            conn.execute(text(f"SELECT COUNT(*) FROM {name}"))
    for statement in DDL:
        refused(db, statement)
    schema.verify(db)


# --- reader -----------------------------------------------------------------------------------------------------------


def test_a_reader_reads_and_writes_nothing(owner: Database, granted: As) -> None:
    define(owner)
    flow_id = start(owner)
    db = granted("reader")
    with db.read() as conn:
        assert explain(conn, flow_id).tasks[0].causes[0].cause == "no watcher"
    for table in metadata.sorted_tables:
        refused(db, f"DELETE FROM {table.name}")
    refused(db, "UPDATE kr_task_stat SET exec_status = 9")
    refused(db, "INSERT INTO kr_command (verb, subject) VALUES ('cancel', 'x')")
    refused(db, "INSERT INTO ms_task_definition (task_id, task_seq, program) VALUES ('x', 1, 'Noop')")
    for name in HIDDEN:
        refused(db, f"SELECT * FROM {name}")


# --- operator ---------------------------------------------------------------------------------------------------------


def test_what_an_operator_inserts_is_carried_out_by_a_watcher(owner: Database, granted: As) -> None:
    define(owner, steps=2)
    flow_id = start(owner)
    allowed(
        granted("operator"),
        "INSERT INTO kr_command (verb, subject, arguments, reason, asked_by)"
        f" VALUES ('cancel', '{flow_id}', NULL, 'ordered twice', 'ann')",
    )
    watch(granted("watcher"))
    (row,) = rows(owner, command)
    assert (row.outcome, row.asked_by, row.door) == ("done", "ann", "sql")
    assert flow(owner, flow_id).reason == "cancelled"


def test_an_operator_does_nothing_else(owner: Database, granted: As) -> None:
    define(owner)
    start(owner)
    db = granted("operator")
    allowed(db, "INSERT INTO kr_command (verb, subject) VALUES ('pause_queue', 'default')")
    refused(db, "INSERT INTO kr_command (verb, subject, outcome) VALUES ('cancel', 'x', 'done')")
    refused(db, "INSERT INTO kr_command (verb, subject, door) VALUES ('cancel', 'x', 'http')")
    refused(db, "UPDATE kr_command SET outcome = 'done'")
    refused(db, "DELETE FROM kr_command")
    refused(db, "UPDATE kr_task_stat SET exec_status = 9")
    refused(db, "UPDATE kr_flow_stat SET flow_status = 9")
    refused(db, "INSERT INTO ms_task_definition (task_id, task_seq, program) VALUES ('x', 1, 'Noop')")
    refused(db, "SELECT * FROM ms_token")


# --- register ---------------------------------------------------------------------------------------------------------


def test_a_register_starts_flows_and_does_what_operators_ask(owner: Database, granted: As) -> None:
    db = granted("register")
    define(db, steps=3)
    define(db, "queued")
    define(db, "refusing")
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="queued", max_active_flows=1))
        conn.execute(insert(workflow).values(task_id="refusing", max_active_flows=1, on_limit="refuse"))
    flow_id, _ = start(db), start(db, idempotency_key="k")
    start(db, "queued"), start(db, "queued"), start(db, "refusing")
    define(owner, "people", program="Other")
    approval = awaiting(owner, "approval", "people")
    awaiting(owner, "callback", "people", key="A" * 43)
    failed = start(owner, "people")
    (held,) = [item for item in claim(owner, 50) if item.key.flow_id == failed]
    settle_as(owner, [Settlement(held, "suspend", reason="failed")])
    ann = Actor("ann", door="http")
    with pytest.raises(PenstockError, match="flows under way"):
        carry_out(db, Ask("register", "refusing", {}), ann)
    made = make_token(owner)
    asked: list[tuple[str, str | None, dict[str, Any]]] = [
        ("register", "w", {"tags": ["a", "b"], "parameters": {"n": 1}}),
        ("pause", flow_id, {"seqs": [2]}),
        ("resume", flow_id, {}),
        ("set_priority", flow_id, {"priority": 3}),
        ("set_parameters", flow_id, {"seqs": [2], "parameters": {"a": 1}}),
        ("set_flow_parameters", flow_id, {"parameters": {"a": 1}}),
        ("ignore", flow_id, {"seqs": [1]}),
        ("finish", flow_id, {"seqs": [2], "result": {"a": 1}}),
        ("rerun", flow_id, {}),
        ("cancel", flow_id, {}),
        ("recover", flow_id, {}),
        ("run_again", flow_id, {}),
        ("bulk", None, {"verb": "cancel", "where": {"task_id": "w"}}),
        ("pause_queue", "mail", {}),
        ("resume_queue", "mail", {}),
        ("set_limit", "mail", {"scope": "queue", "max_running": 1}),
        ("drop_limit", "mail", {"scope": "queue"}),
        ("pause_workflow", "w", {}),
        ("resume_workflow", "w", {}),
        ("send", "paid", {"key": "k", "payload": 1}),
        ("answer", wait_of(owner, approval).wait_id, {"payload": {"approved": True}}),
        ("call_back", None, {"token": "A" * 43, "payload": 1}),
        ("retry", failed, {"seqs": [1]}),
        ("drain", "watcher-1", {}),
        ("apply", "made", {"document": {"steps": [{"program": "Noop"}], "owner": "ann"}}),
        ("apply", "made", {"document": {"steps": [{"program": "Noop"}, {"program": "Noop"}]}}),
        ("delete_workflow", "made", {}),
        ("create_token", "t", {"token_hash": "b" * 64, "role": "viewer"}),
        ("revoke_token", token_id_of(owner, made), {}),
        ("set_principal", "ann@example.org", {"role": "viewer"}),
        ("drop_principal", "ann@example.org", {}),
    ]
    assert {verb for verb, *_ in asked} == set(COMMANDS), "every verb must be tried: it may need another grant"
    for verb, subject, arguments in asked:
        carry_out(db, Ask(verb, subject, arguments, "why"), ann)
    assert {row.outcome for row in rows(owner, command)} == {"done", "refused"}
    session = db.transact(lambda conn: tokens.open_session(conn, "c" * 64, "ann@example.org", 60.0))
    db.transact(lambda conn: tokens.mark_used(conn, session))
    db.transact(lambda conn: tokens.close_session(conn, session))


def test_a_register_deletes_no_run_and_changes_no_record(owner: Database, granted: As) -> None:
    define(owner)
    start(owner)
    db = granted("register")
    for name in ("kr_task_stat", "kr_task_attempt", "kr_wait", "kr_event", "kr_command", "kr_watcher", "kr_limit"):
        refused(db, f"DELETE FROM {name}")
    refused(db, "UPDATE kr_event SET actor = 'nobody'")
    refused(db, "UPDATE kr_command SET asked_by = 'nobody'")
    refused(db, "UPDATE kr_watcher SET lease_until_ts = beat_ts")
    refused(db, "UPDATE alembic_version SET version_num = '0001'")


# --- watcher ----------------------------------------------------------------------------------------------------------


def test_a_watcher_runs_flows_with_all_that_they_may_need(owner: Database, granted: As) -> None:
    define(owner, "w", steps=2)
    define(owner, "each", 1, program="ForEach")
    define(owner, "child")
    define(owner, "parent", program="SubFlow", param1_key="WORKFLOW", param1_value="child")
    define(owner, "timer", program="Wait", param1_key="SECONDS", param1_value="0")
    define(owner, "fails", program="Nobody")
    with owner.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="child", max_active_flows=1))
        parameters = '{"ITEMS": [0, 0], "PROGRAM": "Wait", "ITEM_KEY": "SECONDS"}'
        conn.execute(insert(task_option).values(task_id="each", task_seq=1, parameters=parameters))
    sql(owner, "INSERT INTO ms_limit (scope, name, rate, rate_period_s) VALUES ('queue', 'default', 1000, 1)")
    flows = {task_id: start(owner, task_id) for task_id in ("w", "each", "parent", "timer", "fails")}
    ask = "INSERT INTO kr_command (verb, subject, arguments) VALUES "
    sql(
        owner,
        ask + "('register', 'w', '{\"tags\"\\: [\"a\"]}'), ('pause_queue', 'mail', NULL), ('nonsense', 'x', NULL)",
    )
    db = granted("watcher")
    for _ in range(20):
        watch(db)
        ended = {task_id: flow(owner, flow_id).flow_status for task_id, flow_id in flows.items()}
        if list(ended.values()) == [3, 3, 3, 3, 2]:
            break
    assert ended == {"w": 3, "each": 3, "parent": 3, "timer": 3, "fails": 2}
    assert [row.outcome for row in rows(owner, command)] == ["done", "done", "refused"]
    assert db.can.skip_locked is owner.probe().skip_locked, "it may lock what it asks the server with"


def test_what_the_watchers_account_may_not_is_refused_and_keeps_nobody_waiting(owner: Database, granted: As) -> None:
    define(owner)
    flow_id = start(owner)
    with owner.transaction() as conn:
        told = '{"token_hash": "' + "a" * 64 + '", "role": "viewer"}'
        conn.execute(insert(command).values(verb="create_token", subject="t", arguments=told))
        conn.execute(insert(command).values(verb="cancel", subject=flow_id))
    assert carry_out_asked(granted("watcher"), "watcher-1", role=Role.ADMIN) == 2
    assert [row.outcome for row in rows(owner, command)] == ["refused", "done"]


def test_a_watcher_deletes_what_is_kept_long_enough(owner: Database, granted: As) -> None:
    define(owner)
    start(owner)
    db = granted("watcher")
    watch(db)
    sql(owner, "UPDATE kr_flow_stat SET finished_ts = '2001-01-01 00:00:00'")
    prune(db, Wanted(60.0))
    assert rows(owner, task_stat) == []


def test_a_watcher_writes_no_definition_and_reads_no_token(granted: As) -> None:
    db = granted("watcher")
    refused(db, "INSERT INTO ms_task_definition (task_id, task_seq, program) VALUES ('x', 1, 'Noop')")
    refused(db, "DELETE FROM ms_workflow_version")
    refused(db, "UPDATE ms_workflow SET failure_policy = 'stop'")
    refused(db, "INSERT INTO kr_command (verb, subject) VALUES ('cancel', 'x')")
    refused(db, "UPDATE kr_command SET verb = 'cancel'")
    refused(db, "DELETE FROM kr_command")
    refused(db, "UPDATE kr_event SET actor = 'nobody'")
    refused(db, "SELECT * FROM ms_token")


# --- migrator ---------------------------------------------------------------------------------------------------------


def test_old_records_go_by_whoever_owns_the_tables_and_nobody_else(owner: Database, granted: As) -> None:
    for verb in ("pause_queue", "resume_queue"):
        carry_out(owner, Ask(verb, "mail"), Actor("ann"))
    for role in ("register", "watcher"):
        with pytest.raises(PenstockError, match=r"denied|permission"):
            prune_records(granted(role), 0.0, by="eve", pause_s=0)
    assert len(rows(owner, command)) == 2
    assert prune_records(granted("migrator"), 0.0, by="dba", pause_s=0).commands == 1


def test_a_migrator_upgrades_and_resets(owner: Database, granted: As) -> None:
    sql(owner, "DROP VIEW v_queue")
    sql(owner, "UPDATE alembic_version SET version_num = '0007'")
    db = granted("migrator")
    migrate.upgrade(db)
    assert migrate.differences(db) == []
    migrate.reset(db)
    schema.verify(db)
    for statement in DDL[-2:]:
        allowed(db, statement)
    reader = granted("reader")
    if db.can.partial_indexes:  # MariaDB's grants are of names, and outlast what they name
        refused(reader, "SELECT * FROM kr_flow_stat")
        grant(owner)
    allowed(reader, "SELECT * FROM kr_flow_stat")
