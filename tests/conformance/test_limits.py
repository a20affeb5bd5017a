"""Limits as rows: exact over all watchers, obeyed at once, and never in the way of tasks that they are not about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from factories import (
    claim,
    define,
    enlisted,
    finish,
    kill_lease,
    rows,
    settle_as,
    sql,
    start,
    task,
    together,
)
from invariants import hold
from sqlalchemy import delete, event, insert, select, update

from engine import supervise
from engine.claim import claim_ready, may_claim
from engine.database import Database, open_database
from engine.errors import PenstockError
from engine.keys import Key, among
from engine.limits import rows as limit_rows
from engine.limits.held_back import HeldBack
from engine.limits.room import Limits
from engine.settle import Settlement, Verdict
from engine.states import Status
from engine.tables import limit, limit_stat, task_stat

ROWS = Limits(from_rows=True)


def allow(db: Database, scope: str, name: str, **columns: Any) -> None:
    """A row of ms_limit, instead of the one that was there."""
    with db.transaction() as conn:
        conn.execute(delete(limit).where(limit.c.scope == scope, limit.c.name == name))
        conn.execute(insert(limit).values(scope=scope, name=name, **columns))


def lift(db: Database, scope: str, name: str) -> None:
    with db.transaction() as conn:
        conn.execute(delete(limit).where(limit.c.scope == scope, limit.c.name == name))


def ready(db: Database, count: int, prefix: str = "f", **columns: Any) -> list[Key]:
    """Ready rows, each of a flow of its own. A column given as a function is asked with the number of the row."""
    row = {"task_exec_seq": 1, "task_id": "w", "task_seq": 1, "parameters": "{}", "wait_count": 0, "program": "Noop"}
    made = [
        {**row, **{name: value(number) if callable(value) else value for name, value in columns.items()}}
        for number in range(count)
    ]
    keys = [Key(f"{prefix}{number:05d}", 1) for number in range(count)]
    with db.transaction() as conn:
        conn.execute(insert(task_stat), [{**made[n], "task_flow_id": key.flow_id} for n, key in enumerate(keys)])
    return keys


def take(db: Database, count: int = 10, **options: Any) -> list[Any]:
    return claim(db, count, limits=ROWS, **options)


@contextmanager
def others(db: Database, count: int = 4) -> Iterator[list[Database]]:
    """Watchers of other processes: connections of their own."""
    opened = [open_database(db.url.render_as_string(hide_password=False)) for _ in range(count)]
    for other in opened:
        other.probe()
    try:
        yield opened
    finally:
        for other in opened:
            other.close()


@contextmanager
def statements(db: Database) -> Iterator[list[str]]:
    """What is sent to the database meanwhile."""
    sent: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    yield sent
    event.remove(db.engine, "before_cursor_execute", note)


def running(db: Database) -> list[Any]:
    return [row for row in rows(db, task_stat) if row.exec_status == Status.RUNNING]


def move_back(db: Database, seconds: float) -> None:
    """As if so much time had passed for every rate."""
    with db.transaction() as conn:
        for row in conn.execute(select(limit_stat)).all():
            this = limit_stat.c.scope == row.scope, limit_stat.c.name == row.name
            past = row.free_at_ts - timedelta(seconds=seconds)
            conn.execute(update(limit_stat).where(*this).values(free_at_ts=past))


# --- exact ------------------------------------------------------------------------------------------------------------

RACES: dict[str, tuple[list[tuple[str, str, int]], Callable[[Any], bool], int]] = {
    "a workflow": ([("workflow", "a", 7)], lambda row: row.task_id == "a", 7),
    "a queue": ([("queue", "slow", 7)], lambda row: row.queue == "slow", 7),
    "a key": ([("key", "k1", 7)], lambda row: row.limit_key == "k1", 7),
    "each key": ([("key", "*", 3)], lambda row: row.limit_key == "k2", 3),
    "an own row before that of each key": (
        [("key", "*", 3), ("key", "k1", 5)],
        lambda row: row.limit_key == "k1",
        5,
    ),
    "all together": (
        [("workflow", "a", 9), ("queue", "slow", 8), ("key", "*", 4)],
        lambda row: row.queue == "slow",
        8,
    ),
}


@pytest.mark.parametrize("name", RACES)
def test_exact_over_four_claimers_that_race(db: Database, name: str) -> None:
    limits, measured, most = RACES[name]
    for scope, of, cap in limits:
        allow(db, scope, of, max_running=cap)
    kinds = {
        "task_id": lambda n: "ab"[n % 2],
        "queue": lambda n: ("slow", "default")[n // 2 % 2],
        "limit_key": lambda n: (None, "k1", "k2")[n % 3],
    }
    ready(db, 240, **kinds)
    enlisted(db)

    def work(other: Database) -> None:
        for turn in range(12):
            held = take(other, 5, queues=("slow", "default"))
            if turn % 2 and held:
                finish(other, *held[:2])

    with others(db) as watchers:
        together(*[lambda other=other: work(other) for other in watchers])
    found = rows(db, task_stat)
    counted = [row for row in found if measured(row)]
    assert most_at_once(counted) <= most
    take(db, 200, queues=("slow", "default"))
    now_running = [row for row in running(db) if measured(row)]
    assert len(now_running) == most
    names = {("workflow", "a"): lambda row: row.task_id == "a", ("queue", "slow"): lambda row: row.queue == "slow"}
    for scope, of, cap in limits:
        by = names.get((scope, of), lambda row, of=of: row.limit_key == of)
        assert len([row for row in running(db) if by(row)]) <= cap
        assert most_at_once([row for row in rows(db, task_stat) if by(row)]) <= cap


def most_at_once(found: list[Any]) -> int:
    """How many of these ran at one moment, by the times of their claims and settlements."""
    changes = [(row.started_ts, 1) for row in found if row.started_ts is not None]
    changes += [(row.finished_ts, -1) for row in found if row.finished_ts is not None]
    inside = most = 0
    for _, change in sorted(changes):  # an end before a beginning of the same instant
        inside += change
        most = max(most, inside)
    return most


def test_the_caps_of_a_watcher_hold_beside_the_rows(db: Database) -> None:
    ready(db, 30, task_id=lambda n: "ab"[n % 2])
    allow(db, "workflow", "a", max_running=5)
    both = Limits(max_running=12, max_active=8, max_active_of={"a": 9}, from_rows=True)
    counts = Counter(item.task_id for item in claim(db, 30, limits=both))
    assert counts == {"a": 4, "b": 8} or counts == {"a": 5, "b": 7}
    lift(db, "workflow", "a")
    assert len(claim(db, 30, limits=Limits(max_running=20, max_active_of={"b": 0}, from_rows=True))) == 8


def test_what_runs_by_hand_counts(db: Database) -> None:
    ready(db, 3)
    allow(db, "queue", "default", max_running=2)
    sql(db, "UPDATE kr_task_stat SET exec_status = 1 WHERE task_flow_id = 'f00002'")
    assert len(take(db)) == 1


# --- places become free -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["finish", "suspend", "again", "retry", "release"])
def test_a_settled_task_frees_its_place(db: Database, answer: str) -> None:
    enlisted(db)
    define(db)
    start(db)
    start(db)
    sql(db, "UPDATE kr_task_stat SET limit_key = 'k'")
    allow(db, "key", "k", max_running=1)
    [held] = take(db)
    assert take(db) == []
    settle_as(db, [Settlement(held, answer, reason="failed", error="x", delay_s=3600)])
    assert len(take(db)) == 1
    hold(db)


def test_the_place_of_a_lost_watcher_is_free_with_its_lapse(db: Database) -> None:
    ready(db, 9, limit_key="k")
    allow(db, "key", "k", max_running=3)
    enlisted(db)
    lost = {item.key for item in take(db)}
    assert take(db) == []
    kill_lease(db)
    enlisted(db, "watcher-2")
    assert take(db, watcher_id="watcher-2") == [], "until the sweep has seen it the program may still run"
    assert supervise.reap(db, grace_s=0) == 3
    taken = {item.key for item in take(db, watcher_id="watcher-2")}
    assert len(taken) == 3
    assert taken == lost, "they are the oldest again"
    assert {row.owner for row in running(db)} == {"watcher-2"}


def test_a_place_is_freed_once_by_the_lapse_and_the_late_settlement(db: Database) -> None:
    ready(db, 3, limit_key="k")
    allow(db, "key", "k", max_running=1)
    enlisted(db)
    [first] = take(db)
    kill_lease(db)
    assert supervise.reap(db, grace_s=0) == 1
    enlisted(db, "watcher-2")
    [second] = take(db, watcher_id="watcher-2")
    assert second.key == first.key
    assert settle_as(db, [Settlement(first, "finish")]).verdicts == [Verdict.STALE]
    assert take(db, watcher_id="watcher-2") == []
    assert len(running(db)) == 1


def test_a_claim_that_is_rolled_back_leaves_nothing(db: Database) -> None:
    ready(db, 9)
    allow(db, "queue", "default", max_running=3, rate=4, rate_period_s=1000)
    with db.engine.connect() as conn, conn.begin() as transaction:
        assert len(claim_ready(conn, db, "w", "c", 9, limits=ROWS)) == 3
        transaction.rollback()
    assert rows(db, limit_stat) == []
    assert len(take(db)) == 3


# --- obeyed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope, name", [("queue", "default"), ("workflow", "w"), ("key", "k"), ("key", "*")])
def test_zero_pauses_and_any_change_is_obeyed_by_the_next_claim(db: Database, scope: str, name: str) -> None:
    ready(db, 20, limit_key="k")
    allow(db, scope, name, max_running=0)
    assert take(db) == []
    allow(db, scope, name, max_running=2)
    assert len(take(db)) == 2
    allow(db, scope, name, max_running=1)
    assert take(db) == [], "what runs is left alone"
    assert len(running(db)) == 2
    allow(db, scope, name, max_running=5)
    assert len(take(db)) == 3
    allow(db, scope, name)
    assert len(take(db, 5)) == 5, "NULL in both columns is no limit"
    lift(db, scope, name)
    assert len(take(db, 20)) == 10


def test_pausing_every_key_leaves_named_ones_and_those_without(db: Database) -> None:
    ready(db, 12, limit_key=lambda n: ("k1", "k2", None)[n % 3])
    allow(db, "key", "*", max_running=0)
    allow(db, "key", "k2", max_running=3)
    take(db, 12)
    assert Counter(row.limit_key for row in running(db)) == {"k2": 3, None: 4}


def test_ids_are_compared_byte_by_byte(db: Database) -> None:
    ready(db, 5, limit_key=lambda n: ("k", "K", "k ", "ключ", "'; --")[n])
    for name in ("k", "ключ", "'; --"):
        allow(db, "key", name, max_running=0)
    take(db)
    assert {row.limit_key for row in running(db)} == {"K", "k "}


NONSENSE = [
    ("flow", "x", {"max_running": 1}),
    ("queue", "x", {"max_running": -1}),
    ("queue", "x", {"rate": 0}),
    ("queue", "x", {"rate": -3}),
    ("queue", "x", {"rate": 1, "rate_period_s": 0}),
    ("queue", "x", {"rate": 1, "rate_period_s": -1}),
]


@pytest.mark.parametrize("scope, name, columns", NONSENSE)
def test_nonsense_is_refused_by_the_table(db: Database, scope: str, name: str, columns: dict[str, Any]) -> None:
    with pytest.raises(PenstockError):
        allow(db, scope, name, **columns)
    assert rows(db, limit) == []


# --- nobody stands in the way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["workflow", "queue", "key"])
def test_a_full_limit_does_not_hide_what_waits_behind_it(db: Database, scope: str) -> None:
    column = {"workflow": "task_id", "queue": "queue", "key": "limit_key"}[scope]
    ready(db, 300, "a", task_priority=-10, **{column: "full"})
    ready(db, 3, "b", task_priority=5)
    allow(db, scope, "full", max_running=1)
    taken = [item.key.flow_id for item in take(db, 10, queues=("full", "default"))]
    assert taken == ["a00000", "b00000", "b00001", "b00002"]


def test_one_of_each_key_in_one_claim(db: Database) -> None:
    """The keys come one after the other: each page of candidates holds few of them."""
    ready(db, 1000, limit_key=lambda n: f"k{n // 20:02d}")
    allow(db, "key", "*", max_running=1)
    with statements(db) as sent:
        taken = take(db, 50)
    assert Counter(task(db, item.key).limit_key for item in taken) == {f"k{n:02d}": 1 for n in range(50)}
    assert len(sent) < 25, "pages grow"
    assert take(db, 50) == []


def test_held_back_tasks_are_read_over_by_the_database_and_not_fetched(db: Database) -> None:
    ready(db, 500, "a", limit_key="full", task_priority=-10)
    ready(db, 5, "b")
    allow(db, "key", "full", max_running=0)
    with statements(db) as sent:
        assert len(take(db, 5)) == 5
    pages = [statement for statement in sent if "limit_key IS NULL" in statement]
    assert len(pages) == 1


def test_a_fruitless_look_is_not_repeated_at_once(db: Database) -> None:
    ready(db, 100, limit_key="k")
    allow(db, "key", "k", max_running=2)
    enlisted(db)
    memory = HeldBack()

    def pages() -> tuple[list[Any], int]:
        with statements(db) as sent:
            taken = take(db, 10, held_back=memory)
        return taken, sum("limit_key IS NULL" in statement for statement in sent)

    first, looked = pages()
    assert (len(first), looked, memory.cut_short, memory.full) == (2, 1, True, True)
    until = memory._nothing["default"][1]
    memory._nothing["default"] = memory._nothing["default"][0], until + 60  # a look that took six seconds
    assert pages() == ([], 0)
    finish(db, first[0])
    again, looked = pages()
    assert (len(again), looked) == (1, 0), "a place that became free is seen all the same"
    ready(db, 1, "other")
    assert pages() == ([], 0)
    memory._nothing["default"] = memory._nothing["default"][0], 0.0
    [found], looked = pages()
    assert (found.key.flow_id, looked) == ("other00000", 1)


def test_whether_a_claim_is_worth_its_lock_is_seen_without_one(db: Database) -> None:
    ready(db, 5, limit_key="k")
    allow(db, "key", "k", max_running=2, rate=3, rate_period_s=3000)
    enlisted(db)
    memory = HeldBack()

    def may() -> bool:
        with db.read() as conn:
            return may_claim(conn, ["default"], ROWS, memory)

    assert may()
    held = take(db)
    with statements(db) as sent:
        assert not may()
    assert [one for one in sent if "FOR UPDATE" in one or "advisory" in one or one.startswith("UPDATE")] == []
    assert (memory.full, memory.cut_short, memory.free_in_s) == (True, True, None)
    finish(db, *held)
    assert may()
    take(db)
    memory = HeldBack()
    assert not may()
    assert memory.free_in_s is not None, "now it is the rate"
    ready(db, 1, "other")
    memory = HeldBack()
    assert may()


@pytest.mark.needs("skip_locked")
def test_a_row_that_somebody_holds_does_not_use_up_the_place(db: Database) -> None:
    keys = ready(db, 3, limit_key="k")
    allow(db, "key", "k", max_running=1)
    with others(db, 1) as [other], other.transaction() as conn:
        conn.execute(select(task_stat.c.claims).where(among([keys[0]])).with_for_update()).all()
        assert [item.key for item in take(db)] == [keys[1]]


def test_without_limits_a_claim_asks_nothing_more(db: Database) -> None:
    ready(db, 3)
    with statements(db) as sent:
        assert len(claim(db, 1)) == 1
    with statements(db) as asked:
        assert len(take(db, 1)) == 1
    assert [one for one in sent if "ms_limit" in one or "advisory" in one or "alembic_version" in one] == []
    assert len(asked) > len(sent)
    assert len([one for one in asked if "ms_limit" in one]) == 1


# --- rates ------------------------------------------------------------------------------------------------------------


def test_a_rate_is_exact_over_claimers_that_race(db: Database) -> None:
    ready(db, 60)
    allow(db, "queue", "default", rate=5, rate_period_s=6000)
    with others(db) as watchers:
        together(*[lambda other=other: [take(other, 2) for _ in range(6)] for other in watchers])
        assert len(running(db)) == 5
        for passed, more in ((1190, 0), (20, 1), (2400, 2), (100_000, 5)):
            move_back(db, passed)
            before = len(running(db))
            together(*[lambda other=other: [take(other, 2) for _ in range(3)] for other in watchers])
            assert len(running(db)) - before == more, f"after {passed} seconds"


def test_the_next_time_is_told(db: Database) -> None:
    ready(db, 20)
    allow(db, "workflow", "w", rate=4, rate_period_s=400)
    memory = HeldBack()
    assert len(take(db, 3, held_back=memory)) == 3
    assert (memory.cut_short, memory.free_in_s) == (False, None), "it got what it wanted"
    assert len(take(db, 3, held_back=memory)) == 1
    assert memory.free_in_s is not None
    assert 90 < memory.free_in_s <= 100
    move_back(db, 99)
    assert take(db, 3, held_back=memory) == []
    assert 0 < memory.free_in_s <= 1
    lift(db, "workflow", "w")
    assert len(take(db, 3, held_back=memory)) == 3
    assert memory.free_in_s is None


def test_each_key_has_a_rate_of_its_own(db: Database) -> None:
    ready(db, 40, limit_key=lambda n: f"k{n % 4}")
    allow(db, "key", "*", rate=2, rate_period_s=1000)
    allow(db, "key", "k3", rate=5, rate_period_s=1000)
    taken = take(db, 40)
    assert Counter(task(db, item.key).limit_key for item in taken) == {"k0": 2, "k1": 2, "k2": 2, "k3": 5}
    assert take(db, 40) == []
    assert {(row.scope, row.name) for row in rows(db, limit_stat)} == {("key", f"k{n}") for n in range(4)}
    move_back(db, 501)
    taken = take(db, 40)
    assert Counter(task(db, item.key).limit_key for item in taken) == {"k0": 1, "k1": 1, "k2": 1, "k3": 2}


def test_a_rate_and_a_cap_of_one_row_hold_together(db: Database) -> None:
    ready(db, 40)
    enlisted(db)
    allow(db, "queue", "default", max_running=3, rate=5, rate_period_s=1000)
    first = take(db, 40)
    assert len(first) == 3
    finish(db, *first)
    assert len(take(db, 40)) == 2, "the rate has let five start"
    move_back(db, 100_000)
    assert len(take(db, 40)) == 1, "one place is free"


def test_a_changed_rate_is_obeyed_and_a_time_far_ahead_does_no_harm(db: Database) -> None:
    ready(db, 10)
    allow(db, "queue", "default", rate=1, rate_period_s=86_400)
    assert len(take(db)) == 1
    allow(db, "queue", "default", rate=1, rate_period_s=10)
    memory = HeldBack()
    assert take(db, held_back=memory) == []
    assert memory.free_in_s is not None
    assert memory.free_in_s <= 10
    sql(db, "UPDATE kr_limit SET free_at_ts = '1999-01-01 00:00:00'")
    assert len(take(db)) == 1
    sql(db, "UPDATE kr_limit SET free_at_ts = '2999-01-01 00:00:00'")
    assert take(db, held_back=memory) == []
    assert memory.free_in_s <= 10


def test_times_that_are_past_are_forgotten(db: Database) -> None:
    ready(db, 40, limit_key=lambda n: f"k{n}")
    allow(db, "key", "*", rate=1, rate_period_s=60)
    take(db, 40)
    assert len(rows(db, limit_stat)) == 40
    assert db.transact(limit_rows.forget_past) == 0
    move_back(db, 3600)
    take(db, 1)
    assert db.transact(limit_rows.forget_past) == 40
    lift(db, "key", "*")
    allow(db, "key", "k1", rate=1, rate_period_s=60)
    assert db.transact(limit_rows.forget_past) == 0
