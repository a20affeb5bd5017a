"""The state machine and the graph as data: pure, without a database."""

from __future__ import annotations

import itertools
from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.graph import cycles as graph
from engine.graph.dependencies import Policy
from engine.states import PASSED_ON, READY, SETTLED, TRANSITIONS, Reason, Status
from engine.tables import task_stat


def test_statuses_keep_flowers_numbers() -> None:
    assert {status.name: int(status) for status in Status} == {
        "WAIT": 0,
        "RUNNING": 1,
        "SUSPEND": 2,
        "FINISH": 3,
        "IGNORE": 9,
    }
    assert {Status.FINISH, Status.IGNORE} == SETTLED
    assert (READY, PASSED_ON) == (0, -1)


@pytest.mark.parametrize("name", TRANSITIONS)
def test_transitions_are_sound(name: str) -> None:
    step = TRANSITIONS[name]
    assert step.name == name
    assert step.source
    assert not step.source & SETTLED or name in ("rerun", "supersede"), "only a person sets a settled row back"
    assert step.target is not Status.IGNORE or name in ("ignore", "handle", "skip", "cancel", "supersede")
    touched = {*step.clears} | ({step.stamp} if step.stamp else set())
    assert touched <= {column.name for column in task_stat.c}
    assert step.stamp not in step.clears


def test_only_a_claim_leads_to_running() -> None:
    assert [step.name for step in TRANSITIONS.values() if step.target is Status.RUNNING] == ["claim"]
    assert TRANSITIONS["claim"].source == {Status.WAIT}


def test_every_way_back_to_life_forgets_the_failure() -> None:
    for name in ("claim", "adopt", "recover", "rerun"):
        assert {"finished_ts", "suspended_ts", "reason", "error"} <= {*TRANSITIONS[name].clears}


def test_every_status_is_left_by_some_way() -> None:
    assert {status for step in TRANSITIONS.values() for status in step.source} == set(Status)


def test_reasons_fit_their_column() -> None:
    reasons = [value for name, value in vars(Reason).items() if name.isupper()]
    assert len(set(reasons)) == len(reasons)
    assert max(map(len, reasons)) <= 64


def test_policies() -> None:
    assert [status for status in Status if Policy().satisfied_by(status)] == [Status.FINISH, Status.IGNORE]
    assert [status for status in Status if Policy(ignore_satisfies=False).satisfied_by(status)] == [Status.FINISH]


GRAPHS = st.dictionaries(st.integers(1, 12), st.sets(st.integers(1, 12), max_size=4), max_size=12)


def in_order(predecessors: dict[int, set[int]]) -> list[int] | None:
    """The nodes, each after its predecessors and smaller numbers first where free; None if there is a cycle."""
    sorter = TopologicalSorter(predecessors)
    try:
        sorter.prepare()
    except CycleError:
        return None
    order: list[int] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(ready)
        sorter.done(*ready)
    return order


@given(GRAPHS)
def test_an_order_exists_exactly_where_there_is_no_cycle(before: dict[int, set[int]]) -> None:
    order, stuck, cycle = in_order(before), graph.on_cycles(before), graph.a_cycle(before)
    assert (order is None) == bool(stuck) == bool(cycle)
    if order is not None:
        place = {node: number for number, node in enumerate(order)}
        assert all(place[earlier] < place[node] for node, parents in before.items() for earlier in parents)
    else:
        assert set(cycle) <= stuck
        assert cycle[0] == cycle[-1]
        assert all(earlier in before[later] for earlier, later in itertools.pairwise(cycle))


@given(GRAPHS)
def test_what_is_not_stuck_can_be_ordered(before: dict[int, set[int]]) -> None:
    stuck = graph.on_cycles(before)
    free = {node: parents for node, parents in before.items() if node not in stuck}
    assert in_order(free) is not None
    assert all(before[node] & stuck for node in stuck), "each stuck node waits for a stuck one"


def test_long_chains_need_no_recursion() -> None:
    chain = {number: {number - 1} for number in range(1, 100_000)}
    assert graph.on_cycles(chain) == set()
    chain[0] = {99_999}
    assert len(graph.on_cycles(chain)) == 100_000
