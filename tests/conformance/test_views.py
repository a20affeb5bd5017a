"""The views that people query: what they say on every database, what docs/sql.md says of them, and what they read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from explaining import explained, with_statistics
from factories import by_hand, claim, define, finish, hand_made, kill_lease, rows, run_all, settle_as, sql, start
from sqlalchemy import func, insert, inspect, select, text, update

from engine import migrate, schema
from engine.access import Actor
from engine.commands import Ask, carry_out
from engine.database import Database, open_database
from engine.errors import PoisonData
from engine.explain import CAUSES
from engine.keys import Key
from engine.leases import enlist
from engine.limits.room import Limits
from engine.settle import Settlement
from engine.tables import event, flow_stat, run_edge, task_option, task_stat, token, wait, watcher, workflow_version
from engine.views import VIEWS, view_file

PAGE = Path(__file__).resolve().parent.parent.parent / "docs/sql.md"
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)


def live(db: Database, watcher_id: str = "watcher-1", *queues: str, programs: tuple[str, ...] = ("Noop",)) -> None:
    with db.transaction() as conn:
        enlist(conn, watcher_id, 60.0, slots=10, queues=queues or ("default",), programs=programs)


def ask(db: Database, query: str, **values: Any) -> list[dict[str, Any]]:
    with db.read() as conn:
        return [dict(row) for row in conn.execute(text(query), values).mappings()]


def one(db: Database, query: str, **values: Any) -> dict[str, Any]:
    (only,) = ask(db, query, **values)
    return only


# --- the reference page -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_is_explained_in_order(db: Database, view: str) -> None:
    section = re.search(rf"^### {view}\n(.*?)(?=^##|\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert section, f"docs/sql.md has no section on {view}"
    told = re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE)
    with db.read() as conn:
        assert [column["name"] for column in inspect(conn).get_columns(view)] == told


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.split("\n")[0][:40])
def test_every_query_of_the_page_runs(db: Database, query: str) -> None:
    define(db)
    start(db)
    live(db)
    with db.transaction() as conn:
        conn.execute(text(query))


def test_every_cause_is_explained_in_the_page() -> None:
    section = PAGE.read_text().split("## Why a task waits")[1].split("## The views")[0]
    told = [
        name for row in re.findall(r"^\| (`.*?`) \| ", section, re.MULTILINE) for name in re.findall("`(.*?)`", row)
    ]
    assert told == ["cause", *CAUSES]


def test_the_page_lists_what_the_code_makes() -> None:
    listed = re.findall(r"^\| \[`(v_\w+)`\]", PAGE.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(VIEWS)
    files = {path.name.split(".")[0] for path in (schema.SQL_ROOT / "views").iterdir()}
    assert files == set(VIEWS)
    assert all(view_file(view, flavour).exists() for view in VIEWS for flavour in schema.FLAVOURS)


# --- made, missed, and made again -------------------------------------------------------------------------------------


@pytest.fixture
def empty(empty_url: str) -> Any:
    db = open_database(empty_url)
    yield db
    db.close()


def test_a_missing_view_is_noticed_and_made_again(empty: Database) -> None:
    migrate.init(empty)
    sql(empty, "DROP VIEW v_queue")
    assert migrate.differences(empty) == ["add view: v_queue"]
    migrate.upgrade(empty)
    assert migrate.differences(empty) == []
    assert ask(empty, "SELECT * FROM v_queue") == []


def test_what_an_older_release_left_gets_the_views_and_the_role_worker(empty: Database) -> None:
    from alembic import command

    with empty.transaction() as conn:
        command.upgrade(migrate._config(conn), "0007")
    assert ask_names(empty) == set()
    columns = "token_id, name, token_hash, role, created_ts"
    made = f"INSERT INTO ms_token ({columns}) VALUES ('{{0}}', 'a', '{{0}}', '{{0}}', '2026-01-01')"
    sql(empty, made.format("viewer"))
    migrate.upgrade(empty)
    assert ask_names(empty) == set(VIEWS)
    sql(empty, made.format("worker"))
    assert sorted(row.role for row in rows(empty, token)) == ["viewer", "worker"]
    with pytest.raises(PoisonData):
        sql(empty, made.format("king"))


def test_a_reset_drops_them_with_their_tables(empty: Database) -> None:
    migrate.init(empty)
    migrate.reset(empty)
    migrate.reset(empty)
    assert ask_names(empty) == set(VIEWS)
    assert ask(empty, "SELECT * FROM v_waiting") == []


def ask_names(db: Database) -> set[str]:
    with db.read() as conn:
        return set(inspect(conn).get_view_names())


# --- what they say ----------------------------------------------------------------------------------------------------


def test_statuses_are_spelled_out(db: Database) -> None:
    define(db, steps=5)
    flow_id = start(db)
    live(db)
    for seq, status in ((2, 9), (3, 2)):
        by_hand(db, Key(flow_id, seq), status)
    (first,) = claim(db)
    query = "SELECT status, is_ready FROM v_task WHERE task_flow_id = :flow ORDER BY task_exec_seq"
    assert [row["status"] for row in ask(db, query, flow=flow_id)] == ["RUNNING", "IGNORE", "SUSPEND", "WAIT", "WAIT"]
    finish(db, first)
    assert ask(db, query, flow=flow_id)[0]["status"] == "FINISH"
    found = one(db, "SELECT status, task_count, open_count FROM v_flow WHERE task_flow_id = :flow", flow=flow_id)
    assert found == {"status": "RUNNING", "task_count": 5, "open_count": 4}


def test_each_status_of_a_flow_has_its_name(db: Database) -> None:
    define(db)
    for status in (0, 1, 2, 3, 9):
        flow_id = start(db)
        with db.transaction() as conn:
            conn.execute(update(flow_stat).where(flow_stat.c.task_flow_id == flow_id).values(flow_status=status))
    query = "SELECT flow_status, status FROM v_flow ORDER BY flow_status"
    told = {row["flow_status"]: row["status"] for row in ask(db, query)}
    assert told == {0: "WAIT", 1: "RUNNING", 2: "SUSPEND", 3: "FINISH", 9: "IGNORE"}


def test_a_queue_tells_work_watchers_limit_and_pause(db: Database) -> None:
    define(db, "w", 2)
    define(db, "m")
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id="m", task_seq=1, queue="mail"))
    for task_id in ("w", "w", "w", "m"):
        start(db, task_id)
    live(db, "watcher-1", "default", "mail", programs=("Noop", "Other"))
    live(db, "watcher-2", "default")
    live(db, "watcher-3", "idle")
    claim(db, 1)
    ann = Actor("ann")
    carry_out(db, Ask("set_limit", "default", {"scope": "queue", "max_running": 3}), ann)
    carry_out(db, Ask("set_limit", "later", {"scope": "queue", "rate": 1, "rate_period_s": 60}), ann)
    carry_out(db, Ask("pause_queue", "mail", {}, "down"), ann)
    found = {row["queue"]: row for row in ask(db, "SELECT * FROM v_queue")}
    counts = {name: (row["ready"], row["running"], row["watchers"]) for name, row in found.items()}
    assert counts == {"default": (2, 1, 2), "mail": (1, 0, 1), "idle": (0, 0, 1), "later": (0, 0, 0)}
    assert (found["default"]["max_running"], found["default"]["rate_period_s"]) == (3, None)
    assert (found["later"]["rate"], found["later"]["rate_period_s"]) == (1, 60)
    assert (found["mail"]["paused_by"], found["mail"]["paused_reason"]) == ("ann", "down")
    assert found["default"]["oldest_ts"] is not None
    assert found["idle"]["oldest_ts"] is None


def test_the_rate_of_a_queue_tells_when_the_next_may_start(db: Database) -> None:
    define(db)
    start(db)
    live(db)
    limited = {"scope": "queue", "rate": 1, "rate_period_s": 3600}
    carry_out(db, Ask("set_limit", "default", limited), Actor("ann"))
    query = "SELECT free_at_ts FROM v_queue"
    assert one(db, query)["free_at_ts"] is None
    claim(db, limits=Limits(from_rows=True))
    assert one(db, query)["free_at_ts"] is not None


def test_a_watcher_is_live_draining_silent_or_stopped(db: Database) -> None:
    for name in ("live", "asked", "draining", "silent", "stopped", "ahead"):
        live(db, name)
    kill_lease(db, "silent")
    changes = {"asked": {"wanted": "drain"}, "draining": {"state": "draining"}, "stopped": {"state": "stopped"}}
    with db.transaction() as conn:
        for name, values in changes.items():
            conn.execute(update(watcher).where(watcher.c.watcher_id == name).values(**values))
    sql(db, "UPDATE kr_watcher SET beat_ts = '2990-01-01 00:00:00' WHERE watcher_id = 'ahead'")
    define(db)
    start(db)
    claim(db, watcher_id="live")
    told = {row["watcher_id"]: row for row in ask(db, "SELECT * FROM v_watcher")}
    assert {name: row["status"] for name, row in told.items()} == {
        "live": "LIVE",
        "asked": "DRAINING",
        "draining": "DRAINING",
        "silent": "SILENT",
        "stopped": "STOPPED",
        "ahead": "SILENT",
    }
    assert {name: row["running"] for name, row in told.items() if row["running"]} == {"live": 1}
    assert {row["watcher_id"] for row in ask(db, "SELECT * FROM v_offer")} == {"live"}


@pytest.mark.parametrize(
    ("programs", "offered"),
    [
        ('["A","B"]', {"A", "B"}),
        ('["A", "B"]', {"A", "B"}),
        ("[]", {None}),
        (None, {None}),
        ("", {None}),
        ("no list", {None}),
        ("[1]", {None, "1"}),
        ('{"A": 1}', {None}),
        ('["ü"]', {"ü"}),
        ('["a,b"]', {"a,b"}),
        ('["a\\"b"]', {'a"b'}),
    ],
)
def test_a_list_of_programs_is_read_however_it_looks(db: Database, programs: str | None, offered: set[Any]) -> None:
    live(db, "watcher-1", "default", "mail")
    with db.transaction() as conn:
        conn.execute(update(watcher).values(programs=programs))
    found = ask(db, "SELECT queue, program FROM v_offer")
    assert {row["queue"] for row in found} == {"default", "mail"}
    assert {row["program"] for row in found} <= offered
    assert len(found) == 2 * max(1, len({row["program"] for row in found}))


def test_a_list_that_is_broken_fails_nobody(db: Database) -> None:
    for number, broken in enumerate(['["A", {"x', '["A"', '"A"]', '["\\u0000"]', "[[[[", '["A",]']):
        live(db, f"broken-{number}")
        with db.transaction() as conn:
            conn.execute(update(watcher).where(watcher.c.watcher_id == f"broken-{number}").values(programs=broken))
    live(db)
    mine = "SELECT program FROM v_offer WHERE watcher_id = 'watcher-1'"
    assert [row["program"] for row in ask(db, mine)] == ["Noop"]
    assert len(ask(db, "SELECT * FROM v_watcher")) == 7


# --- versions ---------------------------------------------------------------------------------------------------------


def versions(db: Database) -> list[str]:
    made = sorted(rows(db, workflow_version), key=lambda row: row.created_ts)
    return [row.version_id for row in made]


def difference(db: Database, old: str, new: str) -> list[tuple[Any, ...]]:
    query = "SELECT * FROM v_workflow_version_diff WHERE version_from = :old AND version_to = :new"
    found = ask(db, query, old=old, new=new)
    assert {row["task_id"] for row in found} <= {"w"}
    fields = ("task_seq", "what", "field", "old_value", "new_value", "live_flows")
    return sorted((tuple(row[name] for name in fields) for row in found), key=str)


def test_two_versions_compare_as_rows(db: Database) -> None:
    define(db, steps=3)
    past_the_first, fresh = start(db), start(db)
    finish(db, *[item for item in claim(db) if item.key.flow_id == past_the_first])
    sql(db, "UPDATE ms_task_definition SET program = 'Other', param1_key = 'a', param1_value = '1' WHERE task_seq = 1")
    sql(db, "UPDATE ms_task_definition SET task_priority = 5 WHERE task_seq = 2")
    sql(db, "DELETE FROM ms_task_definition WHERE task_seq = 3")
    sql(db, "INSERT INTO ms_workflow(task_id, timeout_s) VALUES ('w', 60)")
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id="w", task_seq=2, queue="mail", is_exclusive=True))
    assert fresh != start(db)
    old, new = versions(db)
    found = difference(db, old, new)
    told = {(row[0], row[1], row[2]): row[3:] for row in found}
    assert told[1, "changed", "program"] == ("Noop", "Other", 1), "one flow has step 1 behind it"
    assert [json.loads(value) for value in told[1, "changed", "parameters"][:2]] == [{}, {"a": "1"}]
    assert told[2, "changed", "task_priority"] == ("0", "5", 2)
    assert told[2, "added", "queue"] == (None, "mail", 2)
    assert told[2, "added", "is_exclusive"] == (None, "true", 2)
    assert told[3, "step removed", None][2] == 2
    assert told[None, "added", "timeout_s"][0] is None
    assert float(told[None, "added", "timeout_s"][1]) == 60
    assert told[None, "added", "timeout_s"][2] == 2
    assert len(found) == 7
    back = {(row[0], row[1], row[2]): row for row in difference(db, new, old)}
    assert (3, "step added", None) in back
    assert (2, "removed", "queue") in back
    assert {row[5] for row in back.values()} == {1}
    assert difference(db, old, old) == []


def test_flows_that_have_ended_are_touched_by_nothing(db: Database) -> None:
    define(db)
    start(db)
    live(db)
    run_all(db)
    sql(db, "UPDATE ms_task_definition SET program = 'Other'")
    start(db)
    old, new = versions(db)
    assert difference(db, old, new) == [(1, "changed", "program", "Noop", "Other", 0)]


# --- what they read ---------------------------------------------------------------------------------------------------


@pytest.fixture
def crowded(db: Database) -> Database:
    """Much history, and a little of everything that is in play."""
    live(db)
    define(db, steps=2)
    over = {"exec_status": 3, "wait_count": -1, "program": "Noop", "owner": "watcher-1"}
    flows = [f"over-{number}" for number in range(1_500)]
    with db.transaction() as conn:
        ended = [{"task_flow_id": flow_id, "task_id": "w", "flow_status": 3, "task_count": 2} for flow_id in flows]
        conn.execute(insert(flow_stat), ended)
        conn.execute(insert(task_stat), [hand_made(flow_id, seq, **over) for flow_id in flows for seq in (1, 2)])
        told = {"event_ts": datetime(2026, 1, 1, tzinfo=UTC), "what": "task paused by hand", "task_exec_seq": 1}
        conn.execute(insert(event), [{"task_flow_id": flow_id, **told} for flow_id in flows])
    for _ in range(50):
        start(db)
    held = claim(db, 20)
    settle_as(db, [Settlement(item, "suspend", reason="failed", error="x") for item in held[:10]])
    return with_statistics(db, task_stat, flow_stat, run_edge, wait, watcher, event)


@pytest.mark.parametrize("view", ["v_queue", "v_watcher"])
def test_counts_do_not_read_history(crowded: Database, view: str) -> None:
    with explained(crowded, view) as plans:
        assert ask(crowded, f"SELECT * FROM {view}")
    (plan,) = plans
    assert reads_history(plan) == [], plan


def test_one_flow_is_found_without_reading_the_others(crowded: Database) -> None:
    with crowded.read() as conn:
        flow_id = conn.scalar(select(func.max(flow_stat.c.task_flow_id)).where(flow_stat.c.flow_status == 0))
    for view in ("v_waiting", "v_task", "v_flow"):
        with explained(crowded, view) as plans:
            assert ask(crowded, f"SELECT * FROM {view} WHERE task_flow_id = :flow", flow=flow_id)
        (plan,) = plans
        assert reads_history(plan) == [], f"{view}: {plan}"


ALIASES = r"(?:t|p|y|e|f|l)"
"""What the views call the tables of runs."""
IN_PLAY = "_(ready|running|suspended|due|hand)$"
"""Indexes that hold no history."""


def reads_history(plan: str) -> list[str]:
    """The lines of a plan that read a table of runs from end to end. SQLite says so by SCAN, MariaDB in the column
    `type`, PostgreSQL by a scan of the table, or of an index that no condition narrows."""
    lines = plan.splitlines()
    found = []
    for number, line in enumerate(lines):
        following = "\n".join(lines[number + 1 : number + 3])
        of_sqlite = re.search(rf"\bSCAN {ALIASES}\b(?! USING (COVERING )?INDEX ix_kr_task_stat_(ready|running))", line)
        of_mariadb = re.search(rf"^\d+ [A-Z ]+ {ALIASES} (ALL|index) ", line) and "Table function" not in line
        of_postgresql = "Seq Scan on kr_" in line and "Seq Scan on kr_watcher" not in line
        unbounded = re.search(r"Scan using (\w+) on kr_(task|flow)_stat", line)
        if unbounded and "Index Cond" not in following and not re.search(IN_PLAY, unbounded[1]):
            of_postgresql = True
        if of_sqlite or of_mariadb or of_postgresql:
            found.append(line)
    return found
