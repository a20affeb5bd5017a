"""COMMITs whose answer nobody gets: applied, applied later than anybody looks for them, or not applied at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import requests
from factories import claim, define, define_graph, enlisted, flow, rows, start, task, tasks
from invariants import hold
from patience import until
from proxy import Proxy
from servers import free_port
from sqlalchemy import insert
from witnessing import Begin, Witness

from engine import failpoints, supervise
from engine.access import Actor
from engine.commands import Ask, carry_out
from engine.commands.asked_by_sql import carry_out_asked
from engine.database import Database, open_database
from engine.errors import OutcomeUnknown
from engine.flows import Registered, Registration
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.tables import command, flow_stat, task_stat
from register.commits import commit_all
from watcher.cycle import Cycle
from watcher.settings import Settings

TIMES = 20
"""For each fate that takes no time; the others cost a reconnection or a delay each, and come a few times."""
LATE_S = 0.15
Fate = Callable[[Proxy], None]
FATES: dict[str, Fate] = {
    "answer dropped": lambda wire: wire.drop_commits(1),
    "answer dropped, server slow": lambda wire: wire.drop_commits(1, delay_s=LATE_S),
    "cut before": lambda wire: wire.swallow_commits(1),
}
FEW = 4
LOST = {"answer dropped": "{}.after_commit=lose/1", "cut before": "{}.before_commit=lose/1"}
"""The same on a database without a wire."""
fates = pytest.mark.parametrize("fate", FATES)
over_a_wire = pytest.mark.needs("many_writers")


@pytest.fixture
def wire(url: str) -> Iterator[Proxy]:
    with Proxy(url) as proxy:
        yield proxy


@pytest.fixture
def far(wire: Proxy) -> Iterator[Database]:
    """The test's database, at the other end of the wire."""
    opened = open_database(wire.url, role="test")
    opened.probe()
    yield opened
    opened.close()


@contextmanager
def armed(monkeypatch: pytest.MonkeyPatch, spec: str) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "_armed", failpoints.Armed(spec))
        yield


def times_of(fate: str) -> int:
    return TIMES if fate == "answer dropped" else FEW


# --- register -----------------------------------------------------------------------------------------------------


@over_a_wire
def test_a_register_answers_with_the_one_flow(db: Database, wire: Proxy, begin: Begin) -> None:
    """With and without a key: the flow's id is chosen before the first try."""
    define(db, "w", 2, program="Witness")
    port = free_port()
    url = begin("serve", "", "--port", port, db=wire.url).answering(port)
    answered: list[str] = []
    for name, fate in FATES.items():
        for number in range(times_of(name)):
            fate(wire)
            headers = {"Idempotency-Key": f"key-{wire.dropped}"} if number % 2 else {}
            answer = requests.post(f"{url}/register/w", headers=headers, timeout=30)
            assert answer.status_code == 200, answer.text
            answered.append(answer.json()["taskFlowId"])
    assert wire.dropped == len(answered) == TIMES + 2 * FEW
    assert sorted(answered) == [row.task_flow_id for row in rows(db, flow_stat)]
    hold(db)


@pytest.mark.parametrize("name", LOST)
def test_registrations_of_one_commit_each_get_their_flow(
    db: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    define(db, "w", 2)
    for group in range(TIMES):
        keys = [f"{group}.{number}" if number % 2 else None for number in range(5)]
        wishes = [Registration("w", idempotency_key=key) for key in keys]
        with armed(monkeypatch, LOST[name].format("register")):
            outcomes = commit_all(db, wishes)
        assert all(outcomes[wish.flow_id] == Registered(wish.flow_id, "w") for wish in wishes)
    assert len(rows(db, flow_stat)) == 5 * TIMES
    hold(db)


# --- claim --------------------------------------------------------------------------------------------------------


@over_a_wire
@fates
def test_a_claim_that_nobody_answered_leaks_no_task(db: Database, far: Database, wire: Proxy, fate: str) -> None:
    define(db, "w", 1)
    cycle = Cycle(far, enlisted(db, "w"), Settings())
    times = times_of(fate)
    for _ in range(times):
        expected = {Key(start(db), 1), Key(start(db), 1)}
        FATES[fate](wire)
        held = {item.key: item for item in cycle.turn([], 2).claimed}
        if not held:  # whatever was claimed was claimed later than it was looked for, or not at all
            time.sleep(2 * LATE_S)
            with db.read() as conn:
                supervise.give_back(db, supervise.held_by(conn, "w"))  # as a watcher does, which runs none of these
            held = {item.key: item for item in cycle.turn([], 2).claimed}
        assert held.keys() == expected
        assert {row.claim_id for row in rows(db, task_stat) if row.exec_status == 1} == {
            item.claim_id for item in held.values()
        }
        verdicts = [
            verdict for _, verdict in cycle.turn([Settlement(item, "finish") for item in held.values()], 0).settled
        ]
        assert verdicts == [Verdict.ACCEPTED] * 2
    assert wire.dropped == times
    assert {(row.exec_status, row.losses) for row in rows(db, task_stat)} == {(3, 0)}
    hold(db, at_rest=True)


@pytest.mark.parametrize("name", LOST)
def test_a_claim_is_read_back_by_its_id(db: Database, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    define(db, "w", 1)
    cycle = Cycle(db, enlisted(db, "w"), Settings())
    for _ in range(TIMES):
        key = Key(start(db), 1)
        with armed(monkeypatch, LOST[name].format("claim")):
            held = cycle.turn([], 2).claimed
        if name == "cut before":
            assert held == []
            held = cycle.turn([], 2).claimed
        assert [item.key for item in held] == [key]
        ((_, verdict),) = cycle.turn([Settlement(held[0], "finish")], 0).settled
        assert verdict is Verdict.ACCEPTED
    assert {(row.exec_status, row.claims, row.losses) for row in rows(db, task_stat)} == {(3, 1, 0)}


# --- settle -------------------------------------------------------------------------------------------------------


@over_a_wire
@fates
def test_a_settlement_that_nobody_answered_counts_once(db: Database, far: Database, wire: Proxy, fate: str) -> None:
    define_graph(db, "join", [(1, 3), (2, 3)])
    cycle = Cycle(far, enlisted(db, "w"), Settings())
    times = times_of(fate)
    for _ in range(times):
        flow_id = start(db, "join")
        for waits_for in (1, 0):  # settled one by one, so that anything counted twice would start the third early
            (item,) = claim(db, 1, "w")
            FATES[fate](wire)
            ((_, verdict),) = cycle.turn([Settlement(item, "finish", result="1")], 0).settled
            assert verdict is (Verdict.ACCEPTED if fate == "cut before" else Verdict.ALREADY)
            assert task(db, Key(flow_id, 3)).wait_count == waits_for
        (last,) = cycle.turn([], 5).claimed
        cycle.turn([Settlement(last, "finish")], 0)
        assert flow(db, flow_id).flow_status == 3
    assert wire.dropped == 2 * times
    assert {(row.claims, row.attempt, row.losses) for row in rows(db, task_stat)} == {(1, 1, 0)}
    hold(db, at_rest=True)


@pytest.mark.parametrize("name", LOST)
def test_both_halves_of_a_turn_are_found_again(db: Database, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    define(db, "w", 2)
    cycle = Cycle(db, enlisted(db, "w"), Settings())
    for _ in range(TIMES):
        flow_id = start(db)
        (first,) = cycle.turn([], 1).claimed
        with armed(monkeypatch, LOST[name].format("settle")):
            turn = cycle.turn([Settlement(first, "finish")], 1)
        assert [verdict for _, verdict in turn.settled] == [
            Verdict.ALREADY if name == "answer dropped" else Verdict.ACCEPTED
        ]
        second = turn.claimed or cycle.turn([], 1).claimed
        assert [item.key for item in second] == [Key(flow_id, 2)]
        cycle.turn([Settlement(second[0], "finish")], 0)
    assert {(row.exec_status, row.claims) for row in rows(db, task_stat)} == {(3, 1)}
    hold(db, at_rest=True)


# --- commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOST)
def test_a_command_is_carried_out_once(db: Database, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """By a row, whichever look finds it; and asked for directly, unless the one who asks is told that nobody knows."""
    define(db, "w", 1)
    first, spec = start(db), LOST[name].format("command")
    for _ in range(FEW):
        with db.transaction() as conn:
            conn.execute(insert(command).values(verb="run_again", subject=first))
        with armed(monkeypatch, spec), pytest.raises(OutcomeUnknown):
            carry_out_asked(db, "one")
        carry_out_asked(db, "two")
    with armed(monkeypatch, spec), suppress(OutcomeUnknown):
        carry_out(db, Ask("run_again", first), Actor("ann"))
        assert name == "answer dropped", "what was not committed is not answered"
    assert {row.outcome for row in rows(db, command)} == {"done"}
    assert len(rows(db, flow_stat)) == 1 + len(rows(db, command)) == 1 + FEW + (name == "answer dropped")
    hold(db)


# --- a watcher as a whole -----------------------------------------------------------------------------------------


@over_a_wire
@pytest.mark.parametrize("fate", LOST)
def test_a_watcher_whose_commits_are_not_answered(
    db: Database, wire: Proxy, begin: Begin, witness: Witness, fate: str
) -> None:
    """Its heartbeats and sweeps are hit as well."""
    define_graph(db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)], program="Witness")
    watcher = begin("watch", "", "--workers", 3, db=wire.url)
    watcher.said("watcher started")
    flows = []
    for number in range(1, times_of(fate) + 1):
        FATES[fate](wire)
        flows.append(start(db, "diamond"))
        until(lambda number=number: wire.dropped >= number)
    until(lambda: all(row.flow_status == 3 for row in rows(db, flow_stat)), 40, watcher.said_all)
    assert watcher.terminate() == 0
    assert {len(pids) for pids in witness.pids().values()} == {1}
    assert len(witness.pids()) == 4 * len(flows)
    assert {row.losses for row in rows(db, task_stat)} == {0}
    hold(db, at_rest=True)


# --- a connection that breaks at any statement --------------------------------------------------------------------


@over_a_wire
def test_a_connection_cut_at_any_statement_of_a_turn(db: Database, far: Database, wire: Proxy) -> None:
    define(db, "w", 3)
    cycle = Cycle(far, enlisted(db, "w"), Settings())
    cuts = cut_everywhere(wire, lambda: settle_and_claim(db, cycle))
    assert cuts >= 8
    hold(db, at_rest=True)


def settle_and_claim(db: Database, cycle: Cycle) -> Acts:
    flow_id = start(db)
    (first,) = claim(db, 1, "w")
    yield
    turn = cycle.turn([Settlement(first, "finish", result="1")], 1)
    yield
    ((_, verdict),) = turn.settled
    assert verdict in (Verdict.ACCEPTED, Verdict.ALREADY)
    second = turn.claimed or cycle.turn([], 1).claimed
    assert [item.key for item in second] == [Key(flow_id, 2)]
    (third,) = cycle.turn([Settlement(second[0], "finish")], 1).claimed
    cycle.turn([Settlement(third, "finish")], 0)
    assert [(row.exec_status, row.claims, row.attempt) for row in tasks(db, flow_id)] == [(3, 1, 1)] * 3


@over_a_wire
def test_a_connection_cut_at_any_statement_of_a_registration(db: Database, far: Database, wire: Proxy) -> None:
    define_graph(db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)])
    made: list[str] = []

    def registration() -> Acts:
        wishes = [Registration("diamond"), Registration("diamond", idempotency_key=f"key-{len(made)}")]
        yield
        outcomes = commit_all(far, wishes)
        yield
        assert all(outcomes[wish.flow_id] == Registered(wish.flow_id, "diamond") for wish in wishes)
        made.extend(outcomes)

    assert cut_everywhere(wire, registration) >= 6
    assert sorted(made) == [row.task_flow_id for row in rows(db, flow_stat)]
    hold(db)


Acts = Iterator[None]
"""What comes before the cut, what may be cut, and what comes after."""


def cut_everywhere(wire: Proxy, acts: Callable[[], Acts]) -> int:
    """Do it again and again, with the connection cut one message later each time, until none is left to cut at."""
    for number in range(1, 200):
        act = acts()
        next(act)
        wire.cut_in(number)
        next(act)
        was_last = wire.is_to_cut
        wire.cut_in(0)
        next(act, None)
        if was_last:
            return number - 1
    raise AssertionError("there is no end of statements")
