"""Waterflow's jobs as rows: its graphs, also those only known at run time, and what operators do to them."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest
from factories import flow, rows, start, task, tasks
from workshop import Workshop, failing

from engine import control
from engine.database import Database
from engine.errors import Conflict
from engine.keys import Key
from engine.states import Reason, Status
from engine.tables import attempt, event
from penstock import Call, Plan, Task

pytestmark = pytest.mark.by_turns

A, B, C, D, E, F = range(1, 7)
SAMPLE = [(B, A), (C, A), (D, B), (E, B), (E, C), (F, C)]
"""A waits for B and C, B for D and E, C for E and F."""


def ready(db: Database, flow_id: str) -> set[int]:
    return {row.task_seq for row in tasks(db, flow_id) if row.exec_status == Status.WAIT and row.wait_count == 0}


def events_of(db: Database, flow_id: str) -> list[tuple[int, str, str]]:
    return [(row.task_exec_seq, row.what, row.actor) for row in rows(db, event) if row.task_flow_id == flow_id]


class Gates:
    """Each step of the sample waits at its gate, so that a test decides which ends first."""

    def __init__(self, shop: Workshop) -> None:
        self._gates = {seq: threading.Event() for seq in (A, B, C, D, E, F)}
        for seq, gate in self._gates.items():
            shop.does[seq] = lambda call, gate=gate: gate.wait(30)

    def open(self, *seqs: int) -> None:
        for seq in seqs:
            self._gates[seq].set()


def test_a_task_begins_once_all_that_it_waits_for_has_succeeded(db: Database, shop: Workshop) -> None:
    """W13, W5, W14: first D, E, F; after D and E comes B, after F comes C, then A, and the job has succeeded."""
    shop.define("job", SAMPLE)
    gates = Gates(shop)
    flow_id = start(db, "job")
    assert ready(db, flow_id) == {D, E, F}
    with shop.watching():
        shop.until(lambda: sorted(shop.worked) == [D, E, F])
        gates.open(D, E)
        shop.until(lambda: shop.worked[3:] == [B])
        gates.open(F)
        shop.until(lambda: shop.worked[3:] == [B, C])
        gates.open(B)
        shop.until(lambda: task(db, Key(flow_id, B)).exec_status == Status.FINISH)
        assert task(db, Key(flow_id, A)).wait_count == 1
        gates.open(C)
        shop.until(lambda: shop.worked[5:] == [A])
        gates.open(A)
        shop.until(lambda: flow(db, flow_id).flow_status == Status.FINISH)


def fetched(call: Call) -> Plan:
    """The graph of the sample, as a service would answer it: indexes of its own, and for each what it waits for."""
    waits_for = {0: [1, 2], 1: [3, 4], 2: [4, 5], 3: [], 4: [], 5: []}
    names = "ABCDEF"
    return Plan([Task("Noop", name=names[index], after=waits_for[index]) for index in waits_for])


def test_a_graph_that_is_fetched_when_the_job_runs(db: Database, shop: Workshop) -> None:
    """W4, W5: before the fetch there is one task; then there are six more, in the order that the answer says."""
    shop.define("job", [(1, 2)])
    shop.does[1] = fetched
    flow_id = start(db, "job")
    assert len(tasks(db, flow_id)) == 2
    shop.run(flow_id, workers=1)
    planned = [row for row in tasks(db, flow_id) if row.made_by_exec_seq == 1]
    order = [row.name for row in sorted(planned, key=lambda row: row.started_ts)]
    assert set(order) == set("ABCDEF")
    for before, after in ("DB", "EB", "EC", "FC", "BA", "CA"):
        assert order.index(before) < order.index(after)
    last = max(row.finished_ts for row in planned)
    assert tasks(db, flow_id)[1].started_ts >= last, "what follows the fetch waits for all of it"


def test_twelve_fetched_tasks(db: Database, shop: Workshop) -> None:
    """W5: more than ten tasks, referred to by their index."""
    shop.define("job", [(1, 2)])
    shop.does[1] = lambda call: Plan([Task("Noop", after=[index - 1] if index else []) for index in range(12)])
    flow_id = start(db, "job")
    shop.run(flow_id)
    planned = [row for row in tasks(db, flow_id) if row.made_by_exec_seq == 1]
    assert len(planned) == 12
    begun = [row.started_ts for row in planned]
    assert begun == sorted(begun)
    assert flow(db, flow_id).flow_status == Status.FINISH


@pytest.mark.parametrize(
    "graph, words",
    [
        ([Task("Work", after=[1]), Task("Work", after=[0])], "circle"),
        ([Task("Work", after=[7])], "7"),
    ],
    ids=["cycle", "unknown task"],
)
def test_a_fetched_graph_that_cannot_run_fails_its_task(
    db: Database, shop: Workshop, graph: list[Task], words: str
) -> None:
    """W6: no task of it is made, and the reason says what is wrong."""
    shop.define("job", [(1, 2)])
    shop.does[1] = lambda call: Plan(graph)
    flow_id = start(db, "job")
    shop.run(flow_id)
    first, second = tasks(db, flow_id)
    assert (first.exec_status, first.reason, second.exec_status) == (Status.SUSPEND, Reason.BAD_RESULT, Status.WAIT)
    assert words in first.error


def test_payloads_come_back_as_they_were(db: Database, shop: Workshop) -> None:
    """W3: every byte, as text in base64, through parameters and results."""
    payload = base64.b64encode(bytes(range(256))).decode()
    got: list[Any] = []
    shop.define("job", [(1, 2)], {1: {"parameters": '{"INPUT64": ""}'}})
    shop.does[1] = lambda call: got.append(call.params["INPUT64"]) or {"output64": call.params["INPUT64"]}
    shop.does[2] = lambda call: got.append(call.upstream[0]["output64"])
    flow_id = start(db, "job", parameters={"INPUT64": payload})
    shop.run(flow_id)
    assert got == [payload, payload]


def test_a_queue_is_served_by_its_own_watchers(db: Database, shop: Workshop) -> None:
    """W10: a watcher of another queue takes nothing of it."""
    shop.define("job", [(1, 2)], {1: {"queue": "one"}, 2: {"queue": "one"}})
    shop.define("other", [(1, 2)])
    flow_id = start(db, "job")
    shop.run(start(db, "other"))
    assert shop.ends(flow_id) == {1: Status.WAIT, 2: Status.WAIT}
    shop.run(flow_id, queues=("one",))
    assert shop.ends(flow_id) == {1: Status.FINISH, 2: Status.FINISH}


def test_a_running_job_is_cancelled(db: Database, shop: Workshop) -> None:
    """W21: what has not begun ends at once, what has succeeded stays, and what runs cannot bring the job back."""
    shop.define("job", SAMPLE)
    gates = Gates(shop)
    gates.open(D, E)
    flow_id = start(db, "job")
    with shop.watching():
        shop.until(lambda: sorted(shop.worked) == [B, D, E, F])
        assert control.cancel(db, flow_id, actor="ann") == [A, B, C, F]
        assert shop.ends(flow_id) == {A: 9, B: 9, C: 9, D: 3, E: 3, F: 9}
        gates.open(A, B, C, F)
        shop.until(lambda: {row.outcome for row in rows(db, attempt)} == {"stale"})
    assert shop.ends(flow_id) == {A: 9, B: 9, C: 9, D: 3, E: 3, F: 9}
    assert sorted(shop.worked) == [B, D, E, F]
    ended = flow(db, flow_id)
    assert (ended.flow_status, ended.reason) == (Status.IGNORE, Reason.CANCELLED)
    assert (0, "flow cancelled", "ann") in events_of(db, flow_id)
    with pytest.raises(Conflict, match="has ended"):
        control.cancel(db, flow_id, actor="ann")


def test_a_pending_job_is_cancelled(db: Database, shop: Workshop) -> None:
    """W21: before anything has begun, and then nothing does."""
    shop.define("job", SAMPLE)
    flow_id = start(db, "job")
    control.cancel(db, flow_id, actor="ann")
    shop.run(flow_id)
    assert shop.ran == []
    assert set(shop.ends(flow_id).values()) == {Status.IGNORE}


def test_a_cancelled_task_does_not_hold_up_what_waits_for_it(db: Database, shop: Workshop) -> None:
    """W17: Waterflow leaves B blocked for ever when D is cancelled; here what waits behind goes on."""
    shop.define("job", SAMPLE)
    flow_id = start(db, "job")
    assert control.ignore(db, flow_id, [D], actor="ann") == [D]
    shop.run(flow_id)
    assert sorted(shop.worked) == [A, B, C, E, F]
    assert (D, "task ignored", "ann") in events_of(db, flow_id)
    assert control.ignore(db, flow_id, [A], actor="ann") == [], "what has succeeded is not cancelled"


def test_a_failed_task_is_retried(db: Database, shop: Workshop) -> None:
    """W19, W14: it alone, then what waits for it; the job is under way again. Others are refused."""
    shop.define("job", SAMPLE)
    shop.does[E] = failing
    flow_id = start(db, "job")
    shop.run(flow_id)
    assert (flow(db, flow_id).flow_status, sorted(shop.worked)) == (Status.SUSPEND, [D, E, F])
    for seq in (D, B):
        with pytest.raises(Conflict):
            control.retry(db, flow_id, [seq], actor="ann")
    shop.forget()
    del shop.does[E]
    assert control.retry(db, flow_id, [E], actor="ann") == [E]
    assert flow(db, flow_id).flow_status == Status.RUNNING
    assert ready(db, flow_id) == {E}
    shop.run(flow_id)
    assert (shop.worked[0], sorted(shop.worked)) == (E, [A, B, C, E])
    assert (task(db, Key(flow_id, E)).claims, flow(db, flow_id).flow_status) == (2, Status.FINISH)
    assert (E, "task retried", "ann") in events_of(db, flow_id)


def test_a_cancelled_blocked_task_goes_back_to_being_blocked(db: Database, shop: Workshop) -> None:
    """W19: retried with its job, it waits once more for what it waited for."""
    shop.define("job", [(1, 2)])
    flow_id = start(db, "job")
    control.cancel(db, flow_id, actor="ann")
    assert control.retry(db, flow_id, [1, 2], actor="ann") == [1, 2]
    assert ready(db, flow_id) == {1}
    shop.run(flow_id)
    assert shop.worked == [1, 2]


def test_a_failed_task_is_completed_by_force(db: Database, shop: Workshop) -> None:
    """W15: it counts as succeeded without running, what waits for it runs, and the event says who did it."""
    shop.define("job", SAMPLE)
    shop.does[E] = failing
    flow_id = start(db, "job")
    shop.run(flow_id)
    shop.forget()
    assert control.finish(db, flow_id, E, {"rows": 12}, actor="ann") == [E]
    shop.run(flow_id)
    assert (sorted(shop.worked), shop.worked[-1]) == ([A, B, C], A)
    assert task(db, Key(flow_id, E)).result == '{"rows":12}'
    assert flow(db, flow_id).flow_status == Status.FINISH
    assert (E, "task finished by force", "ann") in events_of(db, flow_id)


def test_a_paused_task_is_not_handed_out(db: Database, shop: Workshop) -> None:
    """W16: the job goes as far as it can without it; resumed, the task is ready."""
    shop.define("job", SAMPLE)
    flow_id = start(db, "job")
    assert control.pause(db, flow_id, [F], actor="ann") == [F]
    shop.run(flow_id)
    assert sorted(shop.worked) == [B, D, E]
    assert control.resume(db, flow_id, [F], actor="ann") == [F]
    assert ready(db, flow_id) == {F}
    shop.run(flow_id)
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_a_failure_is_reported_with_its_words(db: Database, shop: Workshop) -> None:
    """W18, W23: the task is failed, its message and traceback are kept."""
    shop.define("job", [(1, 2)])

    def fail(call: Call) -> None:
        raise ValueError("no such partition")

    shop.does[1] = fail
    flow_id = start(db, "job")
    shop.run(flow_id)
    first = tasks(db, flow_id)[0]
    assert (first.exec_status, first.error) == (Status.SUSPEND, "ValueError: no such partition")
    [kept] = rows(db, attempt)
    assert (kept.outcome, "no such partition" in kept.traceback) == ("failed", True)


def test_a_fetch_that_fails_fails_the_job(db: Database, shop: Workshop) -> None:
    """W22: no task of the graph is made."""
    shop.define("job", [(1, 2)])
    shop.does[1] = failing
    flow_id = start(db, "job")
    shop.run(flow_id)
    assert (len(tasks(db, flow_id)), flow(db, flow_id).flow_status) == (2, Status.SUSPEND)
