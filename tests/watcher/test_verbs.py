"""Verbs while a watcher runs what they are about."""

from __future__ import annotations

import threading

import pytest
from factories import define, flow, start, task
from patience import until
from waiting import attempts, finished, settled, status
from watching import Watch

from engine import control
from engine.database import Database
from engine.keys import Key
from engine.states import Status
from penstock import Call, program

pytestmark = pytest.mark.by_turns


def test_a_running_program_is_told_that_its_flow_was_cancelled(db: Database, watch: Watch) -> None:
    stopped = threading.Event()

    @program
    def endless(call: Call) -> str:
        assert call.stop.wait(30)
        stopped.set()
        return "too late"

    define(db, steps=2, program="endless")
    flow_id = start(db)
    watch(endless)
    first = Key(flow_id, 1)
    until(lambda: status(db, first) == 1)
    assert control.cancel(db, flow_id, actor="ann") == [1, 2]
    assert flow(db, flow_id).flow_status == Status.IGNORE
    assert stopped.wait(15)
    until(lambda: [item.outcome for item in attempts(db, first)] == ["stale"])
    row = task(db, first)
    assert (row.exec_status, row.result) == (Status.IGNORE, None)
    assert status(db, Key(flow_id, 2)) == Status.IGNORE


def test_a_forced_re_run_overtakes_the_program_that_hangs(db: Database, watch: Watch) -> None:
    stopped, begun = threading.Event(), threading.Event()

    @program
    def hangs_once(call: Call) -> str:
        if begun.is_set():
            return "second"
        begun.set()
        assert call.stop.wait(30)
        stopped.set()
        return "first"

    define(db, program="hangs_once")
    flow_id = start(db)
    watch(hangs_once)
    assert begun.wait(15)
    only = Key(flow_id, 1)
    until(lambda: status(db, only) == 1)
    assert control.rerun(db, flow_id, [1], force=True, actor="ann") == [1]
    finished(db, flow_id)
    assert stopped.wait(15)
    row = task(db, only)
    assert (row.result, row.generation) == ('"second"', 1)


def test_a_flow_runs_again_as_a_whole(db: Database, watch: Watch) -> None:
    ran: list[int] = []

    @program
    def note(call: Call) -> int:
        ran.append(call.exec_seq)
        return len(ran)

    define(db, steps=3, program="note")
    flow_id = start(db)
    watch(note)
    finished(db, flow_id)
    control.rerun_all(db, flow_id, actor="ann")
    until(lambda: ran == [1, 2, 3, 1, 2, 3])
    finished(db, flow_id)
    settled(db, Key(flow_id, 3))
    assert [item.result for item in attempts(db, Key(flow_id, 3))] == ["3"]
    assert task(db, Key(flow_id, 3)).result == "6"
