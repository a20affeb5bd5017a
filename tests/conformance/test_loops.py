"""Loops: each iteration is rows of its own, made in the transaction in which the last step of the body finishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from factories import (
    claim,
    define_graph,
    enlisted,
    finish,
    flow,
    rows,
    run_all,
    settle_as,
    sql,
    start,
    states,
    task,
    tasks,
    together,
)
from invariants import hold
from sqlalchemy import Connection, event, insert, select

from engine import inputs
from engine.adopt import Adopter
from engine.claimed import ClaimedTask
from engine.database import Database, open_database
from engine.errors import BrokenPromise
from engine.growth import looping, loops, plan_checks
from engine.growth.loops import LoopEdge
from engine.keys import Key
from engine.settle import Settlement, settle
from engine.states import Reason, Status
from engine.tables import run_edge, task_definition
from programs.outcomes import Task

Decide = Callable[[LoopEdge], bool]


class Routing:
    """Decides of each loop edge whether it is taken, in place of its condition, and counts the turns."""

    def __init__(self) -> None:
        self.decide: Decide = lambda edge: False
        self.turns = 0

    def turn(self, conn: Connection, db: Database, taken: Sequence[LoopEdge]) -> dict[str, int]:
        self.turns += 1
        return TURN(conn, db, taken)


TURN = loops.turn


@pytest.fixture
def routing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Routing]:
    replaced = Routing()
    monkeypatch.setattr(looping, "_is_wanted", lambda edge, scopes, facts: replaced.decide(edge))
    monkeypatch.setattr(loops, "turn", replaced.turn)
    return replaced


@pytest.fixture(autouse=True)
def enlist_watcher(db: Database) -> None:
    enlisted(db)


def begin(
    db: Database, edges: Sequence[tuple[int, int]], back: Sequence[tuple[int, int]], task_id: str = "w", **extras: Any
) -> str:
    """A flow of these edges (before, after) whose steps are numbered 1..n, with loop edges (source, target)."""
    with db.read() as conn:
        is_new = conn.execute(select(task_definition).where(task_definition.c.task_id == task_id)).first() is None
    if is_new:
        define_graph(db, task_id, edges)
    flow_id = start(db, task_id)
    loop(db, flow_id, back, **extras)
    return flow_id


def loop(db: Database, flow_id: str, back: Sequence[tuple[int, int]], **extras: Any) -> None:
    with db.transaction() as conn:
        conn.execute(
            insert(run_edge),
            [
                {
                    "task_flow_id": flow_id,
                    "task_exec_seq": target,
                    "depends_task_exec_seq": source,
                    "kind": "loop",
                    **extras,
                }
                for source, target in back
            ],
        )


def edges(db: Database, flow_id: str) -> set[tuple[int, int, str | None, str | None]]:
    """(task, before, kind, outcome) of every edge, those in the rows of the tasks included."""
    found = {
        (row.task_exec_seq, row.depends_task_exec_seq): (None, None)
        for row in tasks(db, flow_id)
        if row.depends_task_exec_seq > 0
    }
    found |= {
        (row.task_exec_seq, row.depends_task_exec_seq): (row.kind, row.outcome)
        for row in rows(db, run_edge)
        if row.task_flow_id == flow_id
    }
    return {(*ends, *more) for ends, more in found.items()}


def ran(db: Database, flow_id: str) -> list[tuple[int, int]]:
    """(task_seq, iteration) in run order."""
    return [(row.task_seq, row.iteration) for row in tasks(db, flow_id)]


def times(count: int) -> Decide:
    left = [count]

    def decide(edge: LoopEdge) -> bool:
        left[0] -= 1
        return left[0] >= 0

    return decide


# --- what is written --------------------------------------------------------------------------------------------------


def test_an_iteration_is_a_copy_of_the_body(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3), (3, 4)], [(3, 2)], max_iterations=7, only_if="more")
    sql(db, "UPDATE kr_task_stat SET task_priority = 1, aged = 2, parameters = '{\"a\": 1}' WHERE task_exec_seq = 2")
    sql(db, "UPDATE kr_task_stat SET queue = 'q', max_attempts = 4, name = 'check' WHERE task_exec_seq = 3")
    routing.decide = times(1)
    finish(db, *claim(db))
    finish(db, *claim(db), result='"a draft"')
    [source] = claim(db, queues=["q"])
    finish(db, source, result='"not good"')
    hold(db)
    assert ran(db, flow_id) == [(1, 0), (2, 0), (3, 0), (4, 0), (2, 1), (3, 1)]
    assert states(db, flow_id) == [(3, -1), (3, -1), (3, -1), (0, 1), (0, 0), (0, 1)]
    again, check = tasks(db, flow_id)[4:]
    assert (again.task_priority, again.aged, again.parameters, again.program) == (3, 0, '{"a": 1}', "Noop")
    assert (check.queue, check.max_attempts, check.name, check.result, check.claims) == ("q", 4, "check", None, 0)
    assert again.registered_ts >= tasks(db, flow_id)[2].finished_ts
    assert edges(db, flow_id) == {
        (2, 1, None, None),
        (3, 2, None, None),
        (2, 3, "loop", "looped"),
        (5, 3, None, None),
        (6, 5, None, None),
        (5, 6, "loop", None),
        (4, 6, None, None),
    }
    copied = next(row for row in rows(db, run_edge) if row.outcome is None)
    assert (copied.max_iterations, copied.only_if) == (6, "more")
    with db.read() as conn:
        assert inputs.upstream_of(conn, Key(flow_id, 5)) == ["not good"]
    told = flow(db, flow_id)
    assert (told.task_count, told.finish_count, told.flow_status) == (6, 3, 1)
    finish(db, *claim(db), result='"better"')
    finish(db, *claim(db, queues=["q"]))
    assert [item.key.seq for item in claim(db)] == [4]
    hold(db)


def test_a_step_back_to_itself(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 2)])
    routing.decide = times(3)
    assert [key.seq for key in run_all(db)] == [1, 2, 4, 5, 6, 3]
    assert ran(db, flow_id)[3:] == [(2, 1), (2, 2), (2, 3)]
    assert [row.max_iterations for row in sorted(rows(db, run_edge), key=lambda row: row.task_exec_seq)] == [
        None,
        999,
        998,
        997,
    ]
    hold(db, at_rest=True)


def test_a_loop_that_is_not_taken_leaves_the_flow_as_it_is(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 1)])
    assert [key.seq for key in run_all(db)] == [1, 2, 3]
    assert len(tasks(db, flow_id)) == 3
    hold(db, at_rest=True)


def test_a_loop_at_the_end_of_a_flow(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2)], [(2, 1)])
    routing.decide = times(2)
    assert [key.seq for key in run_all(db)] == [1, 2, 3, 4, 5, 6]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_edges_from_outside_are_dropped_and_those_within_keep_their_extras(db: Database, routing: Routing) -> None:
    # 1 is outside and before 3; the body is 2 -> 3, 4 -> 5
    flow_id = begin(db, [(1, 3), (2, 3), (2, 4), (3, 5), (4, 5), (5, 6)], [(5, 2)])
    extras = {"task_exec_seq": 4, "depends_task_exec_seq": 2, "only_if": "x > 1", "is_default": True}
    with db.transaction() as conn:
        conn.execute(insert(run_edge).values(task_flow_id=flow_id, **extras))
    routing.decide = times(1)
    run_all(db)
    assert ran(db, flow_id)[6:] == [(2, 1), (3, 1), (4, 1), (5, 1)]
    assert {(seq, before) for seq, before, kind, _ in edges(db, flow_id) if seq > 6 and kind is None} == {
        (7, 5),
        (8, 7),
        (9, 7),
        (10, 8),
        (10, 9),
    }
    [kept] = [row for row in rows(db, run_edge) if row.task_exec_seq == 9]
    assert (kept.only_if, kept.is_default, kept.outcome) == ("x > 1", True, "taken")
    hold(db, at_rest=True)


def test_an_outer_loop_copies_the_inner_body_once_and_lets_it_count_anew(db: Database, routing: Routing) -> None:
    # 1 -> 2 -> 3 -> 4 -> 5; 3 back to 2, at most five times; 4 back to 1
    flow_id = begin(db, [(1, 2), (2, 3), (3, 4), (4, 5)], [(3, 2)], max_iterations=5)
    loop(db, flow_id, [(4, 1)])
    wanted = {(3, 2): [True, True, False, True, False], (4, 1): [True, False]}
    seqs: dict[int, int] = {}
    routing.decide = lambda edge: wanted[seqs[edge.source], seqs[edge.target]].pop(0)
    order: list[tuple[int, int]] = []
    while held := claim(db, 1):
        seqs.update({row.task_exec_seq: row.task_seq for row in tasks(db, flow_id)})
        order += [(seqs[item.key.seq], task(db, item.key).iteration) for item in held]
        finish(db, *held)
        hold(db)
    inner = [(2, 0), (3, 0)]
    assert order == [(1, 0), *inner, (2, 1), (3, 1), (2, 2), (3, 2), (4, 0), (1, 1), *inner, (2, 1), (3, 1), (4, 1),
                     (5, 0)]  # fmt: skip
    left = sorted(
        (row.task_exec_seq, row.max_iterations)
        for row in rows(db, run_edge)
        if row.kind == "loop" and row.max_iterations is not None and row.max_iterations <= 5
    )
    assert [most for _, most in left] == [5, 4, 3, 5, 4], "the inner loop began anew with the outer one"
    hold(db, at_rest=True)


def test_two_loops_of_one_step(db: Database, routing: Routing) -> None:
    """3 goes back to 2 or to 1: only one of them is taken, and the other goes on to the next instance."""
    flow_id = begin(db, [(1, 2), (2, 3), (3, 4)], [(3, 2), (3, 1)], max_iterations=9)
    wanted = iter([2, 1, None])
    with db.read() as conn:
        assert [edge.target for edge in loops.edges_of(conn, [Key(flow_id, 3)])[Key(flow_id, 3)]] == [2, 1]

    aims: dict[int, int | None] = {}

    def decide(edge: LoopEdge) -> bool:
        if edge.source not in aims:
            aims[edge.source] = next(wanted)
        target = {1: 1, 2: 2, 5: 2, 7: 1, 8: 2}[edge.target]
        return target == aims[edge.source]

    routing.decide = decide
    assert [key.seq for key in run_all(db)] == [1, 2, 3, 5, 6, 7, 8, 9, 4]
    assert ran(db, flow_id) == [(1, 0), (2, 0), (3, 0), (4, 0), (2, 1), (3, 1), (1, 1), (2, 0), (3, 0)]
    of_loops = {(row.task_exec_seq, row.depends_task_exec_seq): (row.max_iterations, row.outcome)
                for row in rows(db, run_edge) if row.kind == "loop"}  # fmt: skip
    assert of_loops == {
        (2, 3): (9, "looped"),
        (1, 6): (9, "looped"),
        (5, 6): (8, "skipped"),
        (7, 9): (8, None),
        (8, 9): (9, None),
    }
    hold(db, at_rest=True)


def test_two_loops_back_to_one_step(db: Database, routing: Routing) -> None:
    """2 goes back to 1, and so does 3, round both."""
    flow_id = begin(db, [(1, 2), (2, 3), (3, 4)], [(2, 1), (3, 1)], max_iterations=9)
    wanted = {2: True, 6: False, 3: True, 8: False, 9: False}
    routing.decide = lambda edge: wanted[edge.source]
    assert [key.seq for key in run_all(db)] == [1, 2, 5, 6, 3, 7, 8, 9, 4]
    assert ran(db, flow_id)[4:] == [(1, 1), (2, 1), (1, 0), (2, 0), (3, 1)]
    hold(db, at_rest=True)


def test_a_planner_in_a_body_plans_anew(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 1)])
    routing.decide = times(1)
    wish = plan_checks.check([Task("Noop", {"planned": place}) for place in (1, 2)])
    settle_as(db, [Settlement(claim(db)[0], "finish", plan=wish)])
    finish(db, *claim(db))
    finish(db, *claim(db))
    assert [(row.task_seq, row.iteration, row.made_by_exec_seq) for row in tasks(db, flow_id)[3:]] == [
        (1, 0, 1),
        (1, 0, 1),
        (1, 1, None),
        (2, 1, None),
    ]
    assert tasks(db, flow_id)[5].parameters == "{}", "the planner is copied, not what it planned"
    assert states(db, flow_id)[6] == (0, 1), "what the first planner made is not waited for twice"
    hold(db)
    settle_as(db, [Settlement(claim(db)[0], "finish", plan=wish)])
    run_all(db)
    assert len(tasks(db, flow_id)) == 9
    hold(db, at_rest=True)


def test_a_planner_may_be_the_end_of_a_body(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 1)])
    routing.decide = times(1)
    wish = plan_checks.check([Task("Noop"), Task("Noop")])
    finish(db, *claim(db))
    settle_as(db, [Settlement(claim(db)[0], "finish", plan=wish)])
    hold(db)
    assert states(db, flow_id)[2] == (0, 3), "3 waits for both planned tasks and for the next 2"
    run_all(db)
    hold(db, at_rest=True)


def test_many_flows_turn_in_one_batch(db: Database, routing: Routing) -> None:
    flow_ids = [begin(db, [(1, 2), (2, 3)], [(2, 1)]) for _ in range(30)]
    routing.decide = lambda edge: edge.source == 2
    finish(db, *claim(db, 100))
    finish(db, *claim(db, 100))
    assert routing.turns == 1
    assert {tuple(ran(db, flow_id)) for flow_id in flow_ids} == {((1, 0), (2, 0), (3, 0), (1, 1), (2, 1))}
    hold(db)
    run_all(db)
    hold(db, at_rest=True)


def test_two_loops_of_one_flow_turn_in_one_batch(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (3, 4), (2, 5), (4, 5)], [(2, 1), (4, 3)])
    routing.decide = times(2)
    finish(db, *claim(db))
    finish(db, *claim(db))
    assert ran(db, flow_id)[5:] == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert {(7, 5), (9, 5)} == {(before, seq) for seq, before, *_ in edges(db, flow_id) if seq == 5}
    hold(db)
    run_all(db)
    hold(db, at_rest=True)


def test_two_loops_of_one_flow_turn_at_once(db: Database, routing: Routing) -> None:
    other = open_database(db.url.render_as_string(hide_password=False))
    routing.decide = lambda edge: edge.source in (2, 4)
    for _ in range(5):
        flow_id = begin(db, [(1, 2), (3, 4), (2, 5), (4, 5)], [(2, 1), (4, 3)])
        finish(db, *claim(db))
        first, last = claim(db)
        together(lambda item=first: finish(db, item), lambda item=last: finish(other, item))
        assert sorted(ran(db, flow_id)[5:]) == [(1, 1), (2, 1), (3, 1), (4, 1)]
        assert flow(db, flow_id).task_count == 9
        hold(db)
        run_all(db)
    hold(db, at_rest=True)
    other.close()


# --- the cap ----------------------------------------------------------------------------------------------------------


def test_a_loop_may_be_taken_as_often_as_its_edge_says(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 1)], max_iterations=2)
    routing.decide = times(2)
    for _ in range(5):
        finish(db, *claim(db))
    [held] = claim(db)
    with db.read() as conn:
        [edge] = loops.edges_of(conn, [held.key])[held.key]
        words = loops.exhausted(conn, [edge])[held.key]
    assert edge == LoopEdge(flow_id, 6, 7, 0)
    assert words == "the loop from step 2 back to step 1 was taken as often as its max_iterations allow: 2"
    settle_as(db, [Settlement(held, "suspend", reason=Reason.LOOP_LIMIT, error=words)])
    assert states(db, flow_id)[2] == (0, 1), "nothing goes on behind it"
    hold(db, at_rest=True)
    sql(db, "UPDATE kr_task_edge SET max_iterations = 1 WHERE task_exec_seq = 6")
    with db.read() as conn:
        assert loops.exhausted(conn, loops.edges_of(conn, [held.key])[held.key]) == {}, "a person may allow more"


@pytest.mark.parametrize("most, may", [(None, True), (1, True), (0, False), (-3, False)])
def test_what_an_edge_without_a_number_or_with_an_odd_one_allows(db: Database, most: int | None, may: bool) -> None:
    flow_id = begin(db, [(1, 2)], [(2, 1)], max_iterations=most)
    with db.read() as conn:
        assert bool(loops.exhausted(conn, [LoopEdge(flow_id, 1, 2, most)])) is not may


# --- what may go wrong ------------------------------------------------------------------------------------------------


def test_a_turn_whose_transaction_ends_before_its_commit_leaves_nothing(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 1)])
    routing.decide = lambda edge: edge.source == 2
    finish(db, *claim(db))
    [held] = claim(db)
    before = tasks(db, flow_id), flow(db, flow_id), edges(db, flow_id)

    def ends_early() -> None:
        with db.transaction() as conn:
            settle(conn, db, "watcher-1", [Settlement(held, "finish")])
            raise RuntimeError("the process ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        ends_early()
    assert (tasks(db, flow_id), flow(db, flow_id), edges(db, flow_id)) == before
    finish(db, held)
    run_all(db)
    hold(db, at_rest=True)


def test_a_turn_happens_once_however_often_its_source_is_settled(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 1)])
    routing.decide = lambda edge: edge.source == 2
    finish(db, *claim(db))
    [held] = claim(db)
    finish(db, held, held)
    finish(db, held)
    assert len(tasks(db, flow_id)) == 5
    hold(db)


def test_a_loop_edge_without_a_body_changes_nothing(db: Database) -> None:
    flow_id = begin(db, [(1, 2), (3, 2)], [(3, 1)])
    edge = LoopEdge(flow_id, 1, 3)
    with pytest.raises(BrokenPromise, match="task 1 does not lead to task 3"):
        db.transact(lambda conn: loops.turn(conn, db, [edge]))
    assert len(tasks(db, flow_id)) == 3


def test_a_loop_edge_is_no_circle_to_the_adopter(db: Database) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 1)])
    sql(db, "UPDATE kr_task_stat SET wait_count = NULL")
    Adopter(db, grace_s=0).adopt()
    assert states(db, flow_id) == [(0, 0), (0, 1), (0, 1)]
    hold(db)


# --- cost -------------------------------------------------------------------------------------------------------------


def statements_of_a_turn(db: Database, held: ClaimedTask) -> int:
    counted: list[str] = []

    def count(conn: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        counted.append(statement)

    event.listen(db.engine, "before_cursor_execute", count)
    finish(db, held)
    event.remove(db.engine, "before_cursor_execute", count)
    return len(counted)


def test_a_turn_costs_the_same_however_many_there_were(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 1)])
    routing.decide = lambda edge: True
    costs: list[int] = []
    for turn in range(40):
        finish(db, *claim(db, 1))
        [held] = claim(db, 1)
        if turn % 13 == 0:
            costs.append(statements_of_a_turn(db, held))
        else:
            finish(db, held)
    assert len(set(costs)) == 1, costs
    assert len(tasks(db, flow_id)) == 83
    hold(db)


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_thousand_iterations(db: Database, routing: Routing) -> None:
    flow_id = begin(db, [(1, 2), (2, 3)], [(2, 1)])
    routing.decide = times(1000)
    ran_by = run_all(db, most=3000)
    assert (len(ran_by), ran_by[-1]) == (2003, Key(flow_id, 3))
    assert [row.iteration for row in tasks(db, flow_id) if row.task_seq == 2] == list(range(1001))
    with db.read() as conn:
        last = conn.execute(
            select(run_edge.c.max_iterations).order_by(run_edge.c.task_exec_seq.desc()).limit(1)
        ).scalar_one()
    assert last == 0
    hold(db, at_rest=True)
