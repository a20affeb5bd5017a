"""Random operator verbs on flows that run, against a pure model of statuses and generations.

`PENSTOCK_TEST_EXAMPLES=500` tries that many new histories; without it the same few are tried each time.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection
from typing import Any

import pytest
from factories import claim, define, define_graph, enlisted, rows, settle_as, sql, start, sweep
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from invariants import hold
from sqlalchemy import event

from engine import control, migrate
from engine.database import Database, open_database
from engine.errors import Conflict
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import attempt, flow_stat, metadata, task_stat

SHAPES = {
    "chain": {1: set(), 2: {1}, 3: {2}},
    "join": {1: set(), 2: set(), 3: {1, 2}},
    "diamond": {1: set(), 2: {1}, 3: {1}, 4: {2, 3}},
}
SETTLED = {Status.FINISH, Status.IGNORE}
OPEN = {Status.WAIT, Status.RUNNING, Status.SUSPEND}
EXAMPLES = os.environ.get("PENSTOCK_TEST_EXAMPLES")


class Verbs(RuleBasedStateMachine):
    """The model knows of each task: status and why, generation, the claim that may settle it, whether it was claimed in
    this generation, and whether it waits for a time; of each flow: whether it counts as cancelled."""

    db: Database

    @initialize()
    def empty(self) -> None:
        with self.db.transaction() as conn:
            for table in reversed(metadata.sorted_tables):
                conn.execute(table.delete())
        define(self.db, "chain", steps=3)
        define_graph(self.db, "join", [(1, 3), (2, 3)])
        define_graph(self.db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)])
        enlisted(self.db)
        self.numbers = itertools.count(1)
        self.shape: dict[str, dict[int, set[int]]] = {}
        self.status: dict[Key, int] = {}
        self.why: dict[Key, str | None] = {}
        self.generation: dict[Key, int] = {}
        self.current: dict[Key, str | None] = {}
        self.begun: set[Key] = set()
        self.due: set[Key] = set()
        self.finished: dict[Key, int] = {}
        self.cancelled: set[str] = set()
        self.held: list[Any] = []
        for shape in SHAPES:
            self.register(shape)

    def register(self, shape: str) -> None:
        flow_id = start(self.db, shape, flow_id=f"{shape} {next(self.numbers)}")
        self.shape[flow_id] = SHAPES[shape]
        for seq in SHAPES[shape]:
            key = Key(flow_id, seq)
            self.status[key], self.generation[key], self.finished[key] = Status.WAIT, 0, 0
            self.why[key] = self.current[key] = None

    # what the flows do by themselves

    @rule(rounds=st.integers(1, 3))
    def run(self, rounds: int) -> None:
        """Finish what is ready, and what that opens."""
        for _ in range(rounds):
            before = len(self.held)
            self._claim(9)
            for item in self.held[before:]:
                self._settle(item, "finish")

    @rule(limit=st.integers(1, 3))
    def claim(self, limit: int) -> None:
        self._claim(limit)

    def _claim(self, limit: int) -> None:
        claimed = claim(self.db, limit)
        ready = {key for key in self.status if self._is_ready(key)}
        assert {item.key for item in claimed} <= ready
        assert len(claimed) == min(limit, len(ready))
        for item in claimed:
            assert item.generation == self.generation[item.key]
            self.status[item.key], self.why[item.key] = Status.RUNNING, None
            self.current[item.key] = item.claim_id
            self.begun.add(item.key)
        self.held += claimed

    def _is_ready(self, key: Key) -> bool:
        before = self.shape[key.flow_id][key.seq]
        settled = all(self.status[Key(key.flow_id, parent)] in SETTLED for parent in before)
        return self.status[key] == Status.WAIT and key not in self.due and settled

    @precondition(lambda self: self.held)
    @rule(data=st.data(), kind=st.sampled_from(["finish", "finish", "suspend", "again"]))
    def settle(self, data: st.DataObject, kind: str) -> None:
        running = [item for item in self.held if self.current[item.key] == item.claim_id]
        self._settle(data.draw(st.sampled_from(self.held) | st.sampled_from(running or self.held)), kind)

    def _settle(self, item: Any, kind: str) -> None:
        told = Settlement(item, kind, reason=Reason.FAILED, error="x", delay_s=3600)
        (verdict,) = settle_as(self.db, [told]).verdicts
        key = item.key
        is_current = self.current[key] == item.claim_id and self.status[key] == Status.RUNNING
        assert (verdict is Verdict.ACCEPTED) == is_current
        if not is_current:
            return
        self.status[key] = {"finish": Status.FINISH, "suspend": Status.SUSPEND, "again": Status.WAIT}[kind]
        self.why[key] = Reason.FAILED if kind == "suspend" else None
        self.finished[key] += kind == "finish"
        if kind == "again":
            self.due.add(key)

    @rule()
    def time_comes(self) -> None:
        sql(self.db, "UPDATE kr_task_stat SET due_ts = '2001-01-01 00:00:00' WHERE due_ts IS NOT NULL")
        sweep(self.db)
        self.due.clear()

    # verbs on tasks

    def _flow(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.shape)))

    def _some(self, data: st.DataObject, flow_id: str) -> list[int]:
        return data.draw(st.lists(st.sampled_from(sorted(self.shape[flow_id])), min_size=1, unique=True))

    def _in(self, flow_id: str, statuses: Collection[int], seqs: Collection[int] | None = None) -> list[Key]:
        wanted = sorted(self.shape[flow_id] if seqs is None else seqs)
        return [Key(flow_id, seq) for seq in wanted if self.status[Key(flow_id, seq)] in statuses]

    def _becomes(self, keys: Collection[Key], status: int, why: str | None = None) -> None:
        for key in keys:
            self.status[key], self.why[key] = status, why

    @precondition(lambda self: self.shape)
    @rule(data=st.data(), whole=st.booleans())
    def pause(self, data: st.DataObject, whole: bool) -> None:
        flow_id = self._flow(data)
        seqs = None if whole else self._some(data, flow_id)
        expected = self._in(flow_id, {Status.WAIT}, seqs)
        done = (
            control.pause_flow(self.db, flow_id, actor="x")
            if whole
            else control.pause(self.db, flow_id, seqs, actor="x")
        )
        assert done == [key.seq for key in expected]
        self._becomes(expected, Status.SUSPEND, Reason.PAUSED)

    @precondition(lambda self: self.shape)
    @rule(data=st.data(), paused=st.booleans())
    def resume(self, data: st.DataObject, paused: bool) -> None:
        flow_id = self._flow(data)
        expected = self._in(flow_id, {Status.SUSPEND})
        if paused:
            expected = [key for key in expected if self.why[key] == Reason.PAUSED]
        done = (control.resume_flow if paused else control.resume)(self.db, flow_id, actor="x")
        assert done == [key.seq for key in expected]
        self._becomes(expected, Status.WAIT)

    @precondition(lambda self: self.shape)
    @rule(data=st.data())
    def recover(self, data: st.DataObject) -> None:
        flow_id = self._flow(data)
        suspended, cancelled = self._in(flow_id, {Status.SUSPEND}), self._cancelled_in(flow_id)
        done = control.recover(self.db, flow_id, actor="x")
        assert done == sorted(key.seq for key in suspended + cancelled)
        self._becomes(suspended, Status.WAIT)
        self.due -= set(suspended)
        self._set_back(flow_id, cancelled)

    @precondition(lambda self: self.shape)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        flow_id = self._flow(data)
        seqs = self._some(data, flow_id)
        cancelled = [key for key in self._cancelled_in(flow_id) if key.seq in seqs]
        suspended = self._in(flow_id, {Status.SUSPEND}, seqs)
        ahead = {Key(flow_id, parent) for key in cancelled for parent in self.shape[flow_id][key.seq] - set(seqs)}
        fits = len(cancelled) + len(suspended) == len(seqs) and not any(self._is_cancelled(key) for key in ahead)
        if self._refused(fits, lambda: control.retry(self.db, flow_id, seqs, actor="x"), seqs):
            return
        self._becomes(suspended, Status.WAIT)
        self.due -= set(suspended)
        self._set_back(flow_id, cancelled)

    @precondition(lambda self: self.shape)
    @rule(data=st.data(), forced=st.booleans())
    def put_aside(self, data: st.DataObject, forced: bool) -> None:
        flow_id = self._flow(data)
        seqs = self._some(data, flow_id)[: 1 if forced else None]
        expected = self._in(flow_id, OPEN, seqs)
        if forced:
            done = control.finish(self.db, flow_id, seqs[0], "by hand", actor="x")
        else:
            done = control.ignore(self.db, flow_id, seqs, actor="x")
        assert done == [key.seq for key in expected]
        self._becomes(expected, Status.FINISH if forced else Status.IGNORE, None if forced else Reason.IGNORED)
        self.due -= set(expected)
        for key in expected:
            self.finished[key] += forced

    @precondition(lambda self: self.shape)
    @rule(data=st.data(), priority=st.integers(-20, 19))
    def change(self, data: st.DataObject, priority: int) -> None:
        flow_id = self._flow(data)
        expected = [key.seq for key in self._in(flow_id, {Status.WAIT, Status.SUSPEND})]
        assert control.set_priority(self.db, flow_id, priority, actor="x") == expected
        assert control.set_parameters(self.db, flow_id, {"n": priority}, actor="x") == expected

    # verbs on flows

    @precondition(lambda self: self.shape)
    @rule(data=st.data(), seldom=st.integers(0, 3))
    def cancel(self, data: st.DataObject, seldom: int) -> None:
        if seldom:
            return
        flow_id = self._flow(data)
        expected = self._in(flow_id, OPEN)
        seqs = [key.seq for key in expected]
        if self._refused(bool(expected), lambda: control.cancel(self.db, flow_id, actor="x"), seqs):
            return
        self._becomes(expected, Status.IGNORE, Reason.CANCELLED)
        self.due -= set(expected)
        self.cancelled.add(flow_id)

    @precondition(lambda self: self.shape)
    @rule(data=st.data(), upstream=st.booleans(), downstream=st.booleans(), force=st.booleans())
    def rerun(self, data: st.DataObject, upstream: bool, downstream: bool, force: bool) -> None:
        flow_id = self._flow(data)
        roots = self._some(data, flow_id)
        chosen = set(roots)
        if upstream:
            chosen |= {seq for seq in self.shape[flow_id] if any(seq in self._ahead(flow_id, root) for root in roots)}
        if downstream:
            chosen |= {seq for seq in self.shape[flow_id] if self._ahead(flow_id, seq) & set(roots)}
        again = [key for key in self._in(flow_id, set(Status), chosen) if self._can_run_again(key)]
        fits = not self._in(flow_id, {Status.WAIT}, roots) and self._none_runs(again, force)
        for key in self._in(flow_id, {Status.RUNNING}):
            fits &= key in again or not self.shape[flow_id][key.seq] & {other.seq for other in again}
        for key in again:
            outside = {Key(flow_id, parent) for parent in self.shape[flow_id][key.seq] - chosen}
            fits &= not any(self._is_cancelled(parent) for parent in outside)
            fits &= key.seq not in roots or all(self.status[parent] in SETTLED for parent in outside)
        flags = {"upstream": upstream, "downstream": downstream, "force": force}
        seqs = [key.seq for key in again]
        if not self._refused(fits, lambda: control.rerun(self.db, flow_id, roots, actor="x", **flags), seqs):
            self._set_back(flow_id, again)

    @precondition(lambda self: self.shape)
    @rule(data=st.data(), force=st.booleans())
    def rerun_all(self, data: st.DataObject, force: bool) -> None:
        flow_id = self._flow(data)
        again = [key for key in self._in(flow_id, set(Status)) if self._can_run_again(key)]
        seqs = [key.seq for key in again]
        fits = self._none_runs(again, force)
        if not self._refused(fits, lambda: control.rerun_all(self.db, flow_id, force=force, actor="x"), seqs):
            self._set_back(flow_id, again)

    def _refused(self, fits: bool, act: Callable[[], list[int]], seqs: Collection[int]) -> bool:
        """Act: refused if, and only if, the model says that it does not fit, and then without a trace."""
        before = (rows(self.db, task_stat), rows(self.db, flow_stat), rows(self.db, attempt))
        try:
            done = act()
        except Conflict:
            assert not fits
            assert (rows(self.db, task_stat), rows(self.db, flow_stat), rows(self.db, attempt)) == before
            return True
        assert fits
        assert done == sorted(seqs)
        return False

    def _none_runs(self, keys: Collection[Key], force: bool) -> bool:
        return force or all(self.status[key] != Status.RUNNING for key in keys)

    def _ahead(self, flow_id: str, seq: int) -> set[int]:
        before = self.shape[flow_id][seq]
        return before | {earlier for parent in before for earlier in self._ahead(flow_id, parent)}

    def _can_run_again(self, key: Key) -> bool:
        return self.status[key] != Status.WAIT or key in self.begun

    def _is_cancelled(self, key: Key) -> bool:
        return self.why[key] == Reason.CANCELLED

    def _cancelled_in(self, flow_id: str) -> list[Key]:
        return [key for key in self._in(flow_id, {Status.IGNORE}) if self._is_cancelled(key)]

    def _set_back(self, flow_id: str, again: Collection[Key]) -> None:
        self._becomes(again, Status.WAIT)
        self.due -= set(again)
        self.begun -= set(again)
        for key in again:
            self.generation[key] += 1
            self.current[key] = None
        if again and not self._cancelled_in(flow_id):
            self.cancelled.discard(flow_id)

    @invariant()
    def the_rows_agree_with_the_model(self) -> None:
        if not hasattr(self, "status"):
            return
        found = {Key(row.task_flow_id, row.task_exec_seq): row for row in rows(self.db, task_stat)}
        assert {key: (row.exec_status, row.generation) for key, row in found.items()} == {
            key: (status, self.generation[key]) for key, status in self.status.items()
        }
        flows = {row.task_flow_id: row for row in rows(self.db, flow_stat)}
        assert {flow_id for flow_id, row in flows.items() if row.reason == Reason.CANCELLED} == self.cancelled
        assert {flow_id for flow_id, row in flows.items() if row.flow_status == Status.IGNORE} == {
            flow_id for flow_id in self.cancelled if not self._in(flow_id, OPEN)
        }
        hold(self.db)

    @invariant()
    def every_result_but_the_last_is_history(self) -> None:
        """A task that was finished n times has n - 1 of these on record, and one more if it was set back since."""
        if not hasattr(self, "status"):
            return
        kept = dict.fromkeys(self.status, 0)
        for row in rows(self.db, attempt):
            kept[Key(row.task_flow_id, row.task_exec_seq)] += row.outcome in ("finished", "by hand")
        expected = {key: count - (self.status[key] == Status.FINISH) for key, count in self.finished.items()}
        assert kept == expected

    def teardown(self) -> None:
        if not hasattr(self, "status"):
            return
        for flow_id in self.shape:
            control.rerun_all(self.db, flow_id, force=True, actor="x")
            control.recover(self.db, flow_id, actor="x")
        ran: list[Key] = []
        while claimed := claim(self.db):
            settle_as(self.db, [Settlement(item, "finish") for item in claimed])
            ran += [item.key for item in claimed]
        assert sorted(ran) == sorted(self.status), "every task once"
        assert {row.flow_status for row in rows(self.db, flow_stat)} <= {Status.FINISH}
        hold(self.db, at_rest=True)


@pytest.mark.slow
def test_histories(tmp_path_factory: Any) -> None:
    db = open_database(f"sqlite:///{tmp_path_factory.mktemp('verbs')}/v.db")
    event.listen(db.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    migrate.init(db, samples=False)
    Verbs.db = db
    Verbs.TestCase.settings = settings(
        max_examples=int(EXAMPLES or 20),
        stateful_step_count=30,
        derandomize=EXAMPLES is None,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Verbs.TestCase("runTest").runTest()
    db.close()
