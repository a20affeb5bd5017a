"""Operator verbs: what each does to which tasks, that successors and counters follow, that it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from factories import (
    claim,
    define,
    define_graph,
    enlisted,
    finish,
    flow,
    rows,
    run_all,
    settle_as,
    start,
    states,
    task,
    tasks,
)
from invariants import hold

from engine import control
from engine.database import Database
from engine.errors import BadRequest, UnknownFlow
from engine.graph.dependencies import Policy
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import event

VERBS: dict[str, Callable[[Database, str], Any]] = {
    "recover": lambda db, flow_id: control.recover(db, flow_id, actor="ann"),
    "resume": lambda db, flow_id: control.resume(db, flow_id, actor="ann"),
    "pause": lambda db, flow_id: control.pause(db, flow_id, actor="ann"),
    "ignore": lambda db, flow_id: control.ignore(db, flow_id, [1], actor="ann"),
    "finish": lambda db, flow_id: control.finish(db, flow_id, 1, actor="ann"),
    "set_priority": lambda db, flow_id: control.set_priority(db, flow_id, 3, actor="ann"),
}


@pytest.fixture
def chain(db: Database) -> str:
    """A flow of four tasks: the first finished, the second running, the others waiting."""
    define(db, steps=4)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db))
    assert len(claim(db)) == 1
    return flow_id


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_flow_is_named(db: Database, verb: str) -> None:
    with pytest.raises(UnknownFlow, match="nowhere"):
        VERBS[verb](db, "nowhere")


@pytest.mark.parametrize("verb", ["recover", "resume", "pause", "ignore", "finish"])
def test_a_finished_flow_is_left_alone(db: Database, verb: str) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    run_all(db)
    before = tasks(db, flow_id)
    assert VERBS[verb](db, flow_id) == []
    assert tasks(db, flow_id) == before
    assert [row for row in rows(db, event) if row.actor == "ann"] == []


def test_pause_holds_what_waits_and_resume_lets_it_go(db: Database, chain: str) -> None:
    held = claim(db, watcher_id="nobody")
    assert held == []
    assert control.pause(db, chain, actor="ann", note="night") == [3, 4]
    assert states(db, chain) == [(3, -1), (1, 0), (2, 1), (2, 1)]
    assert flow(db, chain).flow_status == Status.SUSPEND
    row = task(db, Key(chain, 3))
    assert (row.reason, row.error) == (Reason.PAUSED, "night")
    hold(db)
    assert control.resume(db, chain, actor="ann") == [3, 4]
    assert states(db, chain) == [(3, -1), (1, 0), (0, 1), (0, 1)]
    assert flow(db, chain).flow_status == Status.RUNNING
    hold(db)


def test_a_paused_task_hears_of_its_predecessor(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    held = claim(db)
    control.pause(db, flow_id, [2], actor="ann")
    finish(db, *held)
    assert states(db, flow_id) == [(3, -1), (2, 0)]
    assert claim(db) == []
    control.resume(db, flow_id, [2], actor="ann")
    assert run_all(db) == [Key(flow_id, 2)]
    hold(db, at_rest=True)


def test_resume_keeps_the_tries_and_recover_gives_them_anew(db: Database) -> None:
    define(db, steps=1)
    flow_id = start(db)
    enlisted(db)
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
    control.resume(db, flow_id, actor="ann")
    assert task(db, Key(flow_id, 1)).attempt == 1
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
    control.recover(db, flow_id, actor="ann")
    assert task(db, Key(flow_id, 1)).attempt == 0


@pytest.mark.parametrize("seq", [2, 3, 4], ids=["running", "next", "last"])
def test_ignore_opens_what_waits_behind(db: Database, chain: str, seq: int) -> None:
    assert control.ignore(db, chain, [seq], actor="ann") == [seq]
    row = task(db, Key(chain, seq))
    assert (row.exec_status, row.wait_count, row.reason) == (Status.IGNORE, -1, Reason.IGNORED)
    if seq < 4:
        assert task(db, Key(chain, seq + 1)).wait_count == 0
    assert flow(db, chain).ignore_count == 1
    hold(db)


def test_ignore_under_flowers_rule_opens_nothing(db: Database, chain: str) -> None:
    control.ignore(db, chain, [3], actor="ann", policy=Policy(ignore_satisfies=False))
    assert task(db, Key(chain, 4)).wait_count == 1


def test_what_an_ignored_program_answers_changes_nothing(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    held = claim(db)
    control.ignore(db, flow_id, [1], actor="ann")
    assert finish(db, *held, result='"late"').verdicts == [Verdict.STALE]
    assert task(db, Key(flow_id, 1)).result is None
    assert run_all(db) == [Key(flow_id, 2)]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_ignoring_both_branches_opens_the_join_once(db: Database) -> None:
    define_graph(db, "g", [(1, 2), (1, 3), (2, 4), (3, 4)])
    flow_id = start(db, "g")
    enlisted(db)
    assert control.ignore(db, flow_id, [2, 3], actor="ann") == [2, 3]
    assert states(db, flow_id) == [(0, 0), (9, -1), (9, -1), (0, 0)]
    hold(db)
    run_all(db)
    hold(db, at_rest=True)


@pytest.mark.parametrize("seq", [2, 3], ids=["running", "waiting"])
def test_finish_gives_a_result_and_opens_what_waits(db: Database, chain: str, seq: int) -> None:
    assert control.finish(db, chain, seq, {"rows": 3}, actor="ann") == [seq]
    row = task(db, Key(chain, seq))
    assert (row.exec_status, row.wait_count, json.loads(row.result)) == (Status.FINISH, -1, {"rows": 3})
    assert row.finished_ts is not None
    assert task(db, Key(chain, seq + 1)).wait_count == 0
    hold(db)


def test_finish_of_the_last_open_task_closes_the_flow(db: Database) -> None:
    define(db, steps=1)
    flow_id = start(db)
    control.finish(db, flow_id, 1, actor="ann")
    done = flow(db, flow_id)
    assert (done.flow_status, done.finish_count) == (Status.FINISH, 1)
    assert done.finished_ts is not None


def test_a_result_that_is_no_json_is_refused(db: Database, chain: str) -> None:
    before = states(db, chain)
    with pytest.raises(BadRequest, match="result"):
        control.finish(db, chain, 3, {1, 2}, actor="ann")
    assert states(db, chain) == before


def test_priority_counts_for_what_was_not_claimed(db: Database, chain: str) -> None:
    assert control.set_priority(db, chain, -20, actor="ann") == [3, 4]
    assert [row.task_priority for row in tasks(db, chain)] == [0, 0, -20, -20]
    with pytest.raises(BadRequest, match="20 is outside"):
        control.set_priority(db, chain, 20, actor="ann")


def test_every_verb_leaves_its_actor_and_note(db: Database, chain: str) -> None:
    control.pause(db, chain, [4], actor="ann", note="why not")
    control.ignore(db, chain, [3], actor="bob")
    control.set_priority(db, chain, 5, [4], actor="eve")
    found = rows(db, event)
    told = [(row.what, row.actor, row.task_exec_seq, row.details and json.loads(row.details)) for row in found]
    assert told == [
        ("task paused", "ann", 4, {"note": "why not"}),
        ("task ignored", "bob", 3, None),
        ("priority set", "eve", 4, {"priority": 5, "was": 0}),
    ]
