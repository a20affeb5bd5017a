"""What shares a transaction does not share its fate: one refused value, one caller who leaves, one lock that lasts."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests
from factories import claim, define, define_graph, enlisted, rows, start, states, task, together
from invariants import hold
from servers import free_port
from sqlalchemy import Column, Index, MetaData, String, Table, select
from witnessing import Begin

from engine import failpoints
from engine.database import Database, open_database
from engine.errors import PoisonData
from engine.flows import Registered, Registration
from engine.ids import new_claim_id
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.states import Status
from engine.tables import flow_stat, task_stat
from register.commits import commit_all
from watcher.cycle import Cycle
from watcher.settings import Settings

REFUSED = {"sqlite": "\ud800", "mariadb": "\ud800", "postgresql": "\x00"}
"""Characters that each database refuses, in a text that nothing has cleaned."""
BATCH = 100


@pytest.mark.parametrize("poisons", [{50}, {0, 33, 34, 99}])
def test_refused_outcomes_harm_only_their_own_tasks(db: Database, kind: str, poisons: set[int]) -> None:
    define(db, "w", 2)
    flows = [start(db) for _ in range(BATCH)]
    cycle = Cycle(db, enlisted(db, "w"), Settings())
    claimed = cycle.turn([], BATCH).claimed
    assert len(claimed) == BATCH
    batch = [Settlement(item, "finish", result="1") for item in claimed]
    for number in poisons:
        batch[number] = Settlement(claimed[number], "suspend", reason="failed", error=f"bad {REFUSED[kind]} text")
    bad = {claimed[number].key for number in poisons}
    began = time.monotonic()
    turn = cycle.turn(batch, 0)
    took_s = time.monotonic() - began
    assert [verdict for _, verdict in turn.settled] == [Verdict.ACCEPTED] * BATCH
    for flow_id in flows:
        after = [(2, 0), (0, 1)] if Key(flow_id, 1) in bad else [(3, -1), (0, 0)]
        assert states(db, flow_id) == after
    assert {task(db, key).reason for key in bad} == {"bad result"}
    assert took_s < 10, "once a batch is halved, not settled one by one"
    hold(db)


@contextmanager
def unique_run_keys(db: Database) -> Iterator[None]:
    """A rule that an administrator added: the database refuses a value that nothing before it could know to be bad."""
    index = Index("one_of_each", Table("kr_flow_stat", MetaData(), Column("run_key", String)).c.run_key, unique=True)
    index.create(db.engine)
    try:
        yield
    finally:
        index.drop(db.engine)


def test_refused_registrations_harm_nobody_else(db: Database) -> None:
    define(db, "w", 2)
    poisons = {0, 41, 42, 99}
    with unique_run_keys(db):
        taken = Registration("w", run_key="taken")
        commit_all(db, [taken])
        wishes = [Registration("w", run_key="taken" if n in poisons else f"free {n}") for n in range(BATCH)]
        outcomes = commit_all(db, wishes)
    for number, wish in enumerate(wishes):
        assert isinstance(outcomes[wish.flow_id], PoisonData if number in poisons else Registered)
    assert len(rows(db, flow_stat)) == 1 + BATCH - len(poisons)
    hold(db)


# --- callers who leave --------------------------------------------------------------------------------------------

ABORTED = 200


def test_callers_who_leave_in_the_middle_harm_nobody(db: Database, begin: Begin) -> None:
    """Requests that end at a random byte, or whose callers do not wait for the answer, beside others that are whole."""
    define(db, "w", 3, program="Witness")
    port = free_port()
    url = begin("serve", "", "--port", port).answering(port)
    chance = random.Random(5)
    whole: set[str] = set()

    def abort(number: int, share: float) -> None:
        request = request_of(f"aborted {number}")
        end = round(share * len(request))
        if end == len(request):
            whole.add(f"aborted {number}")
        leave(port, request[:end])

    def ask(number: int) -> requests.Response:
        return requests.post(f"{url}/register/w", json={"runKey": f"whole {number}"}, timeout=30)

    with ThreadPoolExecutor(16) as pool:
        answers = []
        for number in range(ABORTED):
            pool.submit(abort, number, chance.choice([chance.random(), 1.0]))
            if number % 4 == 0:
                answers.append(pool.submit(ask, number))
        answered = [answer.result() for answer in answers]
    assert {answer.status_code for answer in answered} == {200}
    assert requests.post(f"{url}/register/w", timeout=30).status_code == 200
    made = {row.task_flow_id: row.run_key for row in rows(db, flow_stat)}
    assert {answer.json()["taskFlowId"] for answer in answered} <= made.keys()
    keys = [key for key in made.values() if key and key.startswith("aborted")]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= whole, "a request that was never whole made a flow"
    assert {len(states(db, flow_id)) for flow_id in made} == {3}
    hold(db)


def request_of(run_key: str) -> bytes:
    body = json.dumps({"runKey": run_key, "parameters": {"text": "x" * 200}}).encode()
    head = (
        f"POST /register/w HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def leave(port: int, sent: bytes) -> None:
    """Send so much, and break the connection."""
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.sendall(sent)
        time.sleep(random.uniform(0, 0.01))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


# --- locks --------------------------------------------------------------------------------------------------------


@pytest.mark.needs("row_locks")
def test_a_lock_time_out_leaves_nothing_half_done(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """MariaDB's error 1205 ends the statement and leaves the transaction open."""
    define(db, "w", 2)
    flow_id = start(db)
    (first,) = claim(db, 1, enlisted(db, "w"))
    counting = failpoints.Armed("settle.*=note")
    monkeypatch.setattr(failpoints, "_armed", counting)
    held, seen = threading.Event(), []

    def hold_successor() -> None:
        with db.transaction() as conn:
            second = task_stat.c.task_flow_id == flow_id, task_stat.c.task_exec_seq == 2
            conn.execute(select(task_stat.c.task_id).where(*second).with_for_update()).all()
            held.set()
            until = time.monotonic() + 2.6
            while time.monotonic() < until:
                seen.append(states(db, flow_id))
                time.sleep(0.1)

    def settle() -> Any:
        held.wait(10)
        return Cycle(db, "w", Settings()).turn([Settlement(first, "finish")], 0)

    _, turn = together(hold_successor, settle)
    assert {tuple(found) for found in seen} == {((1, 0), (0, 1))}, "nothing of it was to be seen before it was whole"
    assert counting._hits["settle.before"] >= 2
    assert [verdict for _, verdict in turn.settled] == [Verdict.ACCEPTED]
    assert states(db, flow_id) == [(3, -1), (0, 0)]
    hold(db)


THREADS = 16


def test_many_watchers_on_the_same_joins(db: Database) -> None:
    """Sixteen connections settle parents of the same successors, in flows of the same rows, all at once."""
    left, right = range(1, 9), range(9, 17)
    define_graph(db, "knot", [*((a, b) for a in left for b in right), *((b, 17) for b in right)])
    flows = [start(db, "knot") for _ in range(4)]
    ran: Counter[Key] = Counter()
    lock = threading.Lock()
    with ExitStack() as stack:
        opened = [open_database(db.url.render_as_string(hide_password=False)) for _ in range(THREADS)]
        for one in opened:
            one.can = db.can
            stack.callback(one.close)

        def work(of: Database) -> None:
            cycle, batch = Cycle(of, enlisted(db, new_claim_id()), Settings()), []
            until = time.monotonic() + 60
            while sum(ran.values()) < 17 * len(flows) or batch:
                assert time.monotonic() < until
                turn = cycle.turn(batch, 3)
                assert {verdict for _, verdict in turn.settled} <= {Verdict.ACCEPTED}
                with lock:
                    ran.update(item.key for item in turn.claimed)
                batch = [Settlement(item, "finish", result="1") for item in turn.claimed]

        together(*(lambda of=one: work(of) for one in opened))
    assert len(ran) == 17 * len(flows)
    assert set(ran.values()) == {1}
    assert {row.flow_status for row in rows(db, flow_stat)} == {Status.FINISH}
    hold(db, at_rest=True)
