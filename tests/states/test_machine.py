"""Random histories of registrations, claims, settlements, lapses and changes by hand, against a model and invariants.

`PENSTOCK_TEST_EXAMPLES=500` tries that many new histories; without it the same few are tried each time.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest
from factories import by_hand, claim, define, define_graph, enlisted, rows, run_out, settle_as, sql, start, sweep, task
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from invariants import hold
from sqlalchemy import event

from engine import migrate, supervise
from engine.adopt import Adopter
from engine.control import recover
from engine.database import Database, open_database
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.states import Status
from engine.tables import metadata, task_stat

SHAPES = {
    "chain": {1: set(), 2: {1}, 3: {2}},
    "join": {1: set(), 2: set(), 3: {1, 2}},
    "diamond": {1: set(), 2: {1}, 3: {1}, 4: {2, 3}},
}
SETTLED = {Status.FINISH, Status.IGNORE}
EXAMPLES = os.environ.get("PENSTOCK_TEST_EXAMPLES")


class Histories(RuleBasedStateMachine):
    """The model knows each task's status, its last claim and whether it waits for a time; parents it knows by shape."""

    db: Database

    @initialize()
    def empty(self) -> None:
        with self.db.transaction() as conn:
            for table in reversed(metadata.sorted_tables):
                conn.execute(table.delete())
        define(self.db, "chain", steps=3)
        define_graph(self.db, "join", [(1, 3), (2, 3)])
        define_graph(self.db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)])
        self.adopter = Adopter(self.db, grace_s=0)
        self.numbers = itertools.count(1)
        self.status: dict[Key, int] = {}
        self.parents: dict[Key, set[Key]] = {}
        self.last: dict[Key, str] = {}
        self.due: set[Key] = set()
        self.lapsed: set[Key] = set()
        self.unsure: set[Key] = set()
        self.held: list[Any] = []
        self.swept = True
        self._enlist()

    def _enlist(self) -> None:
        self.watcher = f"watcher-{next(self.numbers)}"
        enlisted(self.db, self.watcher)

    @rule(shape=st.sampled_from(sorted(SHAPES)))
    def register(self, shape: str) -> None:
        if len(self.status) > 12:
            return
        flow_id = start(self.db, shape, flow_id=f"flow{next(self.numbers)}")
        for seq, before in SHAPES[shape].items():
            self.status[Key(flow_id, seq)] = Status.WAIT
            self.parents[Key(flow_id, seq)] = {Key(flow_id, parent) for parent in before}

    @rule(shape=st.sampled_from(["chain", "join"]))
    def insert_by_hand(self, shape: str) -> None:
        if len(self.status) > 12:
            return
        flow_id = f"hand{next(self.numbers)}"
        for seq, before in SHAPES[shape].items():
            first, *others = sorted(before) or [-1]
            sql(
                self.db,
                "INSERT INTO kr_task_stat(task_flow_id, task_exec_seq, depends_task_exec_seq, task_id, task_seq,"
                " parameters) VALUES (:flow, :seq, :first, :shape, :seq, '{}')",
                flow=flow_id,
                seq=seq,
                first=first,
                shape=shape,
            )
            for parent in others:
                columns = "task_flow_id, task_exec_seq, depends_task_exec_seq"
                sql(self.db, f"INSERT INTO kr_task_edge({columns}) VALUES ('{flow_id}', {seq}, {parent})")
            self.status[Key(flow_id, seq)] = Status.WAIT
            self.parents[Key(flow_id, seq)] = {Key(flow_id, parent) for parent in before}
        self.swept = False

    def _ready(self) -> set[Key]:
        return {
            key
            for key, status in self.status.items()
            if status == Status.WAIT
            and key not in self.due
            and all(self.status[parent] in SETTLED for parent in self.parents[key])
        }

    @rule(limit=st.integers(1, 20))
    def claim(self, limit: int) -> None:
        claimed = claim(self.db, limit, watcher_id=self.watcher)
        keys = {item.key for item in claimed}
        assert {self.status[key] for key in keys} <= {Status.WAIT}
        if self.swept:
            assert keys <= self._ready()
            assert len(keys) == min(limit, len(self._ready()))
        for item in claimed:
            self.status[item.key] = Status.RUNNING
            self.last[item.key] = item.claim_id
            self.lapsed.discard(item.key)
            self.unsure.discard(item.key)
            self.due.discard(item.key)
        self.held += claimed

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(), kinds=st.lists(st.sampled_from(["finish", "finish", "suspend", "again", "release"]), min_size=1)
    )
    def settle(self, data: st.DataObject, kinds: list[str]) -> None:
        batch = []
        for kind in kinds[: len(self.held)]:
            item = data.draw(st.sampled_from(self.held))
            if all(other.task.key != item.key for other in batch):
                batch.append(Settlement(item, kind, reason="failed", error="x", delay_s=3600))
        for told, verdict in zip(batch, settle_as(self.db, batch, self.watcher).verdicts, strict=True):
            self._judge(told, verdict)

    def _judge(self, told: Settlement, verdict: Verdict) -> None:
        key = told.task.key
        if key not in self.unsure or self.last[key] != told.task.claim_id:
            waits = self.status[key] == Status.WAIT and key in self.lapsed and told.kind != "release"
            current = self.last[key] == told.task.claim_id and (self.status[key] == Status.RUNNING or waits)
            assert (verdict is Verdict.ACCEPTED) == current
        if verdict is Verdict.ACCEPTED:
            after = {"finish": Status.FINISH, "suspend": Status.SUSPEND}
            self.status[key] = after.get(told.kind, Status.WAIT)
            self.lapsed.discard(key)
            self.unsure.discard(key)
            self.due.discard(key)
            if told.kind == "again":
                self.due.add(key)

    @rule()
    def fall_silent(self) -> None:
        sql(self.db, "DELETE FROM kr_watcher")
        while supervise.reap(self.db, grace_s=3600):
            pass
        for key, status in self.status.items():
            if status == Status.RUNNING:
                self.status[key] = Status.WAIT
                self.lapsed.add(key)
        self._enlist()

    @precondition(lambda self: self.status)
    @rule(data=st.data(), status=st.sampled_from([0, 0, 2, 3, 9]))
    def change_by_hand(self, data: st.DataObject, status: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.status)))
        if status in SETTLED and task(self.db, key).wait_count == -1:
            return  # from one settled status to the other, after the flow was counted: seen by its next recount only
        if self.status[key] in SETTLED and status not in SETTLED and self._runs_behind(key):
            return  # what runs already is not called back
        by_hand(self.db, key, status)
        if self.status[key] != status:
            self.unsure.add(key)
        self.status[key] = status
        if status in SETTLED:
            self.due.discard(key)
            sql(
                self.db,
                f"UPDATE kr_task_stat SET due_ts = NULL WHERE task_flow_id = '{key[0]}' AND task_exec_seq = {key[1]}",
            )
        self.swept = False

    def _runs_behind(self, parent: Key) -> bool:
        behind = [key for key, before in self.parents.items() if parent in before]
        return any(self.status[key] == Status.RUNNING for key in behind)

    @precondition(lambda self: self.status)
    @rule(data=st.data())
    def recover(self, data: st.DataObject) -> None:
        sweep(self.db, adopter=self.adopter)
        self.swept = True
        flow_id = data.draw(st.sampled_from(sorted({key.flow_id for key in self.status})))
        was = {key.seq for key, status in self.status.items() if key.flow_id == flow_id and status == Status.SUSPEND}
        assert set(recover(self.db, flow_id, actor="me")) == was
        for seq in was:
            self.status[Key(flow_id, seq)] = Status.WAIT
            self.due.discard(Key(flow_id, seq))
            self.unsure.add(Key(flow_id, seq))
        sweep(self.db, adopter=self.adopter)

    @rule(part=st.sampled_from(["pass_on", "note_paused", "adopt", "fire_due"]))
    def part_of_a_sweep(self, part: str) -> None:
        if part == "adopt":
            self.adopter.adopt()
        else:
            getattr(supervise, part)(self.db)

    @rule()
    def sweep(self) -> None:
        sweep(self.db, adopter=self.adopter)
        self.swept = True

    @rule()
    def time_comes(self) -> None:
        sql(self.db, "UPDATE kr_task_stat SET due_ts = '2001-01-01 00:00:00' WHERE due_ts IS NOT NULL")
        sweep(self.db, adopter=self.adopter)
        self.swept = True
        self.due.clear()

    @invariant()
    def the_rows_agree_with_the_model(self) -> None:
        found = {Key(row.task_flow_id, row.task_exec_seq): row.exec_status for row in rows(self.db, task_stat)}
        assert found == self.status
        if self.swept:
            hold(self.db)

    def teardown(self) -> None:
        if not hasattr(self, "status"):
            return
        self.fall_silent()
        self.time_comes()
        for flow_id in {key.flow_id for key in self.status}:
            recover(self.db, flow_id, actor="me")
        run_out(self.db)
        hold(self.db, at_rest=True)
        assert {row.exec_status for row in rows(self.db, task_stat)} <= SETTLED


@pytest.mark.slow
def test_histories(tmp_path_factory: Any) -> None:
    db = open_database(f"sqlite:///{tmp_path_factory.mktemp('machine')}/m.db")
    event.listen(db.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    migrate.init(db, samples=False)
    Histories.db = db
    Histories.TestCase.settings = settings(
        max_examples=int(EXAMPLES or 30),
        stateful_step_count=40,
        derandomize=EXAMPLES is None,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Histories.TestCase("runTest").runTest()
    db.close()
