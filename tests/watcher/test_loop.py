"""Flows run to their end, at once, in order, and within the caps."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import Any

import pytest
from battery import PROGRAMS
from factories import by_hand, define, define_graph, flow, insert_task, rows, sql, start, states, task, tasks
from patience import until
from sqlalchemy import insert
from waiting import attempts, finished, running, settled, status
from watching import Watch

from engine.database import Database, open_database
from engine.keys import Key
from engine.tables import task_stat, watcher
from penstock import Call, program
from watcher.pace import Pace

pytestmark = pytest.mark.by_turns

LONG = {"interval_s": 30.0}
"""Long enough for a test to see that nothing waited for it."""


class Gate:
    """A program that waits until the test lets it pass, and knows how many wait."""

    def __init__(self, name: str = "gate") -> None:
        self.open = threading.Event()
        self.lock = threading.Lock()
        self.inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.total_most = 0
        self.began: list[tuple[str, int]] = []

        @program(name)
        def gate(call: Call, hold_s: float = 20.0) -> None:
            with self.lock:
                self.began.append((call.flow_id, call.exec_seq))
                self.inside[call.task_id] += 1
                self.most[call.task_id] = max(self.most[call.task_id], self.inside[call.task_id])
                self.total_most = max(self.total_most, self.inside.total())
            try:
                self.open.wait(hold_s)
            finally:
                with self.lock:
                    self.inside[call.task_id] -= 1

        self.program = gate


@pytest.fixture
def gate() -> Any:
    made = Gate()
    yield made
    made.open.set()


def test_a_chain_and_a_diamond_run_to_the_end(db: Database, watch: Watch) -> None:
    ran: list[tuple[str, int]] = []

    @program
    def note(call: Call) -> None:
        ran.append((call.task_id, call.exec_seq))

    define(db, "chain", steps=5, program="note")
    define_graph(db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)], program="note")
    flows = [start(db, "chain"), start(db, "diamond")]
    watching = watch(note)
    finished(db, *flows)
    assert [seq for name, seq in ran if name == "chain"] == [1, 2, 3, 4, 5]
    diamond = [seq for name, seq in ran if name == "diamond"]
    assert (diamond[0], sorted(diamond[1:3]), diamond[3:]) == (1, [2, 3], [4])
    assert states(db, flows[1]) == [(3, -1)] * 4
    assert {row.owner for row in tasks(db, flows[0])} == {watching.id}


def test_no_poll_between_steps(db: Database, started: Watch) -> None:
    define(db, steps=10)
    watching = started(**LONG)
    begun = time.monotonic()
    flow_id = start(db)
    watching.watcher.wake()
    finished(db, flow_id)
    assert time.monotonic() - begun < 10, "ten steps in less than one of its pauses"


def test_a_row_of_another_process_is_found_within_the_interval(db: Database, started: Watch) -> None:
    define(db)
    started(interval_s=0.3)
    time.sleep(1)  # until it looks as rarely as it may
    finished(db, start(db), seconds=8)
    key = insert_task(db, program="Noop")
    settled(db, key, seconds=8)
    assert status(db, key) == 3


@pytest.mark.needs("hints")
def test_a_hint_of_the_database_wakes_earlier_than_the_interval(db: Database, started: Watch) -> None:
    define(db)
    started(**LONG)
    time.sleep(3)  # its pauses have grown beyond what this test waits for
    begun = time.monotonic()
    finished(db, start(db), seconds=15)
    assert time.monotonic() - begun < 15


def test_poison_rows_harm_themselves_alone(db: Database, watch: Watch) -> None:
    define(db, "good", steps=2)
    good = [start(db, "good") for _ in range(25)]
    bad: dict[Key, str] = {}

    def poison(reason: str, seq: int = 1, **columns: Any) -> None:
        key = insert_task(db, f"bad {len(bad)}", seq, **{"program": "Noop", "task_priority": -20, **columns})
        bad[key] = reason

    poison("bad parameters", parameters='{"n": 3}')
    poison("bad parameters", parameters='{"n":')
    poison("bad parameters", parameters="")
    poison("bad parameters", parameters="[" * 50_000)
    poison("bad parameters", parameters='["a"]')
    poison("unknown program", program="Nope")
    poison("unknown program", program="' OR 1=1; --")
    poison("unknown program", program="x" * 256)
    poison("bad row", program=None)
    poison("dangling dependency", seq=7, depends_task_exec_seq=99)
    poison("cycle", seq=5, depends_task_exec_seq=5)
    poison("failed", program="raises", parameters='{"what": "ValueError"}')
    watching = watch(*PROGRAMS)
    finished(db, *good)
    settled(db, *bad)
    found = {key: task(db, key).reason for key in bad}
    found_programless = {key for key, reason in bad.items() if reason == "bad row"}
    assert {key: reason for key, reason in found.items() if key not in found_programless} == {
        key: reason for key, reason in bad.items() if key not in found_programless
    }
    assert {status(db, key) for key in bad} == {2}
    assert all(task(db, key).error for key in bad)
    assert watching.lives
    finished(db, start(db, "good"))


def test_the_smaller_priority_comes_first(db: Database, watch: Watch, gate: Gate) -> None:
    ran: list[int] = []

    @program
    def note(call: Call) -> None:
        ran.append(int(call.flow_id))

    with db.transaction() as conn:
        common = {"task_exec_seq": 1, "task_id": "w", "task_seq": 1, "parameters": "{}", "program": "note"}
        numbers = [(n * 37) % 100 for n in range(100)]  # any order but the right one
        made = [{**common, "task_flow_id": f"{n:03}", "task_priority": n % 40 - 20, "wait_count": 0} for n in numbers]
        conn.execute(insert(task_stat), made)
    watch(note, workers=1)
    settled(db, *((f"{n:03}", 1) for n in range(100)))
    assert [n % 40 - 20 for n in ran] == sorted(n % 40 - 20 for n in range(100))
    assert (ran[0] % 40 - 20, ran[-1] % 40 - 20) == (-20, 19)


def test_an_urgent_row_overtakes_what_waits(db: Database, watch: Watch, gate: Gate) -> None:
    ran: list[str] = []

    @program
    def note(call: Call) -> None:
        ran.append(call.flow_id)

    first = insert_task(db, "first", program="gate")
    watch(gate.program, note, workers=1)
    until(lambda: gate.began)
    late = insert_task(db, "late", program="note", task_priority=19)
    urgent = insert_task(db, "urgent", program="note", task_priority=-20)
    until(lambda: task(db, late).wait_count == task(db, urgent).wait_count == 0)
    gate.open.set()
    settled(db, first, late, urgent)
    assert ran == ["urgent", "late"]


def test_no_more_run_than_workers_and_limit_allow(db: Database, watch: Watch, gate: Gate) -> None:
    keys = [insert_task(db, f"flow {n}", program="gate", parameters='{"hold_s": 0.05}') for n in range(20)]
    for _ in range(2):
        watch(gate.program, workers=8, limit=3)
    settled(db, *keys)
    assert gate.total_most == 3
    assert {status(db, key) for key in keys} == {3}


def test_with_the_limit_used_up_nothing_starts(db: Database, watch: Watch) -> None:
    for number in range(3):
        insert_task(db, f"busy {number}", exec_status=1, wait_count=0)
    key = insert_task(db, "waiting", program="Noop", wait_count=0)
    watch(limit=3)
    time.sleep(0.5)
    assert status(db, key) == 0
    by_hand(db, Key("busy 0", 1), 3)
    settled(db, key)


def test_each_workflow_keeps_to_its_cap(db: Database, watch: Watch, gate: Gate) -> None:
    """Three workflows, twenty flows of each, and two watchers."""
    for name in ("a", "b", "c"):
        define(db, name, steps=2, program="gate", param1_key="hold_s", param1_value="0.01")
    flows = [start(db, name) for _ in range(20) for name in ("a", "b", "c")]
    for _ in range(2):
        watch(gate.program, workers=6, max_active=2, max_active_of={"c": 1})
    finished(db, *flows, seconds=60)
    assert gate.most == {"a": 2, "b": 2, "c": 1}
    assert len(gate.began) == len(set(gate.began)) == 120


def test_two_watchers_run_each_task_once(db: Database, watch: Watch) -> None:
    ran: Counter[tuple[str, int]] = Counter()
    lock = threading.Lock()

    @program
    def note(call: Call) -> None:
        with lock:
            ran[call.flow_id, call.exec_seq] += 1

    define_graph(db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)], program="note")
    watchers = [watch(note), watch(note)]
    flows = [start(db, "diamond") for _ in range(50)]
    finished(db, *flows, seconds=60)
    assert len(ran) == 200
    assert set(ran.values()) == {1}
    assert all(watching.lives for watching in watchers)


def test_ignored_by_hand_while_it_runs(db: Database, watch: Watch) -> None:
    stopped = threading.Event()

    @program
    def endless(call: Call) -> str:
        assert call.stop.wait(30)
        stopped.set()
        return "too late"

    with db.transaction() as conn:
        conn.execute(
            task_stat.metadata.tables["ms_task_definition"].insert(),
            [
                {"task_id": "w", "task_seq": 1, "program": "endless"},
                {"task_id": "w", "task_seq": 2, "program": "Noop"},
            ],
        )
    flow_id = start(db)
    first, second = Key(flow_id, 1), Key(flow_id, 2)
    watch(endless)
    until(lambda: status(db, first) == 1)
    by_hand(db, first, 9)
    settled(db, second)
    assert status(db, second) == 3
    assert stopped.wait(15)
    until(lambda: attempts(db, first))
    assert [(item.outcome, item.accepted) for item in attempts(db, first)] == [("stale", False)]
    row = task(db, first)
    assert (row.exec_status, row.result) == (9, None)


def test_set_back_by_hand_after_a_failure(db: Database, watch: Watch) -> None:
    broken = [True]

    @program
    def sometimes() -> None:
        if broken:
            raise ValueError("not yet")

    define(db, steps=2, program="sometimes")
    flow_id = start(db)
    first, second = Key(flow_id, 1), Key(flow_id, 2)
    watch(sometimes)
    settled(db, first)
    assert (status(db, first), status(db, second)) == (2, 0)
    assert flow(db, flow_id).flow_status == 2
    broken.clear()
    by_hand(db, first, 0)
    finished(db, flow_id)
    row = task(db, first)
    assert (row.exec_status, row.error, row.suspended_ts, row.claims) == (3, None, None, 2)


def test_a_finished_row_set_back_by_hand_runs_again(db: Database, watch: Watch) -> None:
    ran: list[int] = []

    @program
    def note(call: Call) -> None:
        ran.append(call.exec_seq)

    define(db, steps=2, program="note")
    flow_id = start(db)
    watch(note)
    finished(db, flow_id)
    by_hand(db, Key(flow_id, 1), 0)
    until(lambda: ran == [1, 2, 1])
    finished(db, flow_id)


def test_a_flow_of_plain_rows_needs_no_other_table(db: Database, watch: Watch) -> None:
    watch()
    columns = "task_flow_id, task_exec_seq, depends_task_exec_seq, task_id, task_seq, parameters"
    define(db, "hand", steps=3)
    for seq in (3, 1, 2):
        sql(db, f"INSERT INTO kr_task_stat ({columns}) VALUES ('f', {seq}, {seq - 1 or -1}, 'hand', {seq}, '{{}}')")
    settled(db, ("f", 3))
    assert states(db, "f") == [(3, -1)] * 3


def test_slow_tasks_are_not_hoarded_after_quick_ones(db: Database, watch: Watch, gate: Gate) -> None:
    define(db, "quick")
    watch(gate.program, workers=2)
    finished(db, *[start(db, "quick") for _ in range(100)], seconds=60)
    keys = [insert_task(db, f"slow {n}", program="gate") for n in range(30)]
    until(lambda: len(gate.began) == 2)
    until(lambda: running(db) == 2, seconds=15)
    gate.open.set()
    settled(db, *keys, seconds=40)
    assert {status(db, key) for key in keys} == {3}


def test_pace_forgets_what_was_long_ago() -> None:
    pace = Pace(ahead_s=0.05, workers=10)
    assert pace.ahead() == 0
    for _ in range(20):
        time.sleep(0.002)
        pace.completed(100, busy_s=0.01)
    assert pace.ahead() > 20
    pace._since -= 60
    assert pace.ahead() == 0


def test_slow_programs_are_not_fetched_ahead_however_many_complete() -> None:
    pace = Pace(ahead_s=0.05, workers=10)
    for _ in range(20):
        pace.completed(10, busy_s=10.0)
    assert pace.ahead() == 0


def test_quick_programs_are_fetched_ahead_however_long_transactions_take() -> None:
    pace = Pace(ahead_s=0.05, workers=10)
    for _ in range(20):
        pace.completed(10, busy_s=0.001)
        pace._since -= 0.001
    assert pace.ahead() > 100


def test_until_idle_ends_when_all_is_done(db: Database, url: str) -> None:
    from programs.catalogue import build_catalogue
    from watcher.loop import Watcher
    from watcher.settings import Settings

    @program
    def slow(call: Call) -> None:
        call.sleep(0.5)

    define(db, steps=3, program="slow")
    flow_id = start(db)
    opened = open_database(url, role="watcher")
    Watcher(opened, build_catalogue(extra=[slow], autoload=False), Settings(interval_s=0.1)).run(until_idle=True)
    opened.close()
    assert flow(db, flow_id).flow_status == 3
    assert [row.state for row in rows(db, watcher)] == ["stopped"]


def test_queues_are_served_as_named(db: Database, watch: Watch) -> None:
    keys = {name: insert_task(db, f"in {name}", program="Noop", queue=name) for name in ("default", "one", "two")}
    watch(queues=("one", "two"))
    settled(db, keys["one"], keys["two"])
    assert status(db, keys["default"]) == 0
    watch()
    settled(db, keys["default"])


def test_what_a_watcher_says_of_itself(db: Database, watch: Watch) -> None:
    watching = watch(workers=3, queues=("a", "b"), label="the one in the cellar")
    (row,) = until(lambda: rows(db, watcher))
    said = (row.watcher_id, row.slots, row.queues, row.label, row.state)
    assert said == (watching.id, 3, "a,b", "the one in the cellar", "running")
    watching.stop()
    (row,) = rows(db, watcher)
    assert row.state == "stopped"
    assert json.dumps(row.pid)
