"""Watchers that die, freeze, are forgotten, or lose their database."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from factories import define, insert_task, rows, sql, start, task, tasks
from freezing import freeze
from patience import until
from processes import kill
from proxy import Proxy
from sqlalchemy import select
from waiting import attempts, finished, running, settled, status
from watching import Watch

from engine.claim import claim_ready
from engine.database import Database, open_database
from engine.errors import DatabaseUnavailable
from engine.ids import new_claim_id
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.tables import watcher
from penstock import Call, program
from watcher.cycle import Cycle
from watcher.lease import Heartbeat
from watcher.settings import Settings

SHORT: dict[str, Any] = {"lease_s": 1.5, "heartbeat_s": 0.4, "interval_s": 0.1}
CHILD = Path(__file__).parent / "child.py"
Child = Callable[..., "subprocess.Popen[bytes]"]


@program("slow")
def quick_instead() -> str:
    """What the surviving watcher runs under the name of the child's slow program."""
    return "survivor"


@pytest.fixture
def child(url: str) -> Iterator[Child]:
    """`child(seconds)`: a watcher process whose `slow` takes so long."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(seconds: float, lease_s: float = 1.5, heartbeat_s: float = 0.4) -> subprocess.Popen[bytes]:
        command = [sys.executable, CHILD, url, seconds, lease_s, heartbeat_s]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        kill(process)
        assert process.stdout is not None
        process.stdout.close()


def begun(process: subprocess.Popen[bytes]) -> None:
    """Wait until the child's slow program runs."""
    assert process.stdout is not None
    assert any(line == b"begun\n" for line in process.stdout)


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    with Proxy(url) as wire:
        yield wire


def test_heartbeats_extend_the_lease(db: Database, watch: Watch) -> None:
    watching = watch(**SHORT)
    (first,) = until(lambda: rows(db, watcher))
    until(lambda: rows(db, watcher)[0].lease_until_ts > first.lease_until_ts)
    assert watching.watcher._heartbeat.holds
    assert rows(db, watcher)[0].beat_ts > first.beat_ts


def test_a_watcher_whose_row_was_deleted_enlists_anew_and_keeps_its_task(db: Database, watch: Watch) -> None:
    ran: list[str] = []

    @program
    def three_leases(call: Call) -> None:
        ran.append(call.claim_id)
        call.stop.wait(4.5)

    key = insert_task(db, program="three_leases")
    first = watch(three_leases, **SHORT)
    until(lambda: ran)
    sql(db, "DELETE FROM kr_watcher")
    until(lambda: [row.watcher_id for row in rows(db, watcher)] == [first.id])
    settled(db, key)
    assert (status(db, key), len(ran), task(db, key).losses) == (3, 1, 0)


def test_the_task_of_a_killed_watcher_goes_on_elsewhere(db: Database, watch: Watch, child: Child) -> None:
    define(db, steps=2, program="slow")
    flow_id = start(db)
    first = Key(flow_id, 1)
    process = child(60)
    begun(process)
    watching = watch(quick_instead, keep_all_attempts=True, **SHORT)
    dead = task(db, first).owner
    process.kill()
    killed_at = time.monotonic()
    finished(db, flow_id, seconds=30)
    assert time.monotonic() - killed_at < 15
    row = task(db, first)
    assert (row.result, row.owner, row.losses, row.claims, row.attempt) == ('"survivor"', watching.id, 1, 2, 1)
    tries = [(item.outcome, item.accepted, item.watcher_id) for item in attempts(db, first)]
    assert tries == [("lost", False, dead), ("finished", True, watching.id)]
    assert attempts(db, first)[0].lease_until_ts is not None


def test_a_watcher_that_was_frozen_comes_too_late(db: Database, watch: Watch, child: Child) -> None:
    key = insert_task(db, program="slow")
    process = child(3.0)
    begun(process)
    freeze(process.pid, db)
    watching = watch(quick_instead, keep_all_attempts=True, **SHORT)
    settled(db, key)
    assert task(db, key).result == '"survivor"'
    process.send_signal(signal.SIGCONT)
    until(lambda: any(item.outcome == "stale" for item in attempts(db, key)))
    tries = [(item.outcome, item.accepted) for item in attempts(db, key)]
    assert tries == [("stale", False), ("finished", True)]
    row = task(db, key)
    assert (row.result, row.owner, row.claims) == ('"survivor"', watching.id, 2)
    assert "begun by the child" in attempts(db, key)[0].log
    again = insert_task(db, "next", program="slow")  # and the frozen one works again
    settled(db, again)


@pytest.mark.needs("many_writers")
def test_an_outage_costs_time_and_no_work(db: Database, watch: Watch, proxy: Proxy) -> None:
    """All connections of the watcher are cut for three seconds while its programs run."""
    ran: Counter[int] = Counter()
    lock = threading.Lock()

    @program
    def sleeps(call: Call) -> int:
        with lock:
            ran[call.exec_seq] += 1
        time.sleep(0.5)
        return call.exec_seq

    keys = [insert_task(db, "f", n, program="sleeps", depends_task_exec_seq=-1) for n in range(1, 13)]
    watching = watch(sleeps, url=proxy.url, workers=4, interval_s=0.1, lease_s=20, heartbeat_s=1)
    until(lambda: running(db) == 4)
    proxy.cut()
    time.sleep(3)
    assert ran.total() <= 8, "nothing can be claimed, so nothing new begins"
    proxy.mend()
    settled(db, *keys)
    assert watching.lives
    assert ran == dict.fromkeys(range(1, 13), 1)
    assert [(row.exec_status, row.result, row.losses) for row in tasks(db, "f")] == [
        (3, str(n), 0) for n in range(1, 13)
    ]
    settled(db, insert_task(db, "after", program="sleeps"))


@pytest.mark.needs("many_writers")
def test_an_outage_longer_than_the_lease_re_executes_nothing(db: Database, started: Watch, proxy: Proxy) -> None:
    ran: list[str] = []

    @program
    def long(call: Call) -> str:
        ran.append(call.flow_id)
        time.sleep(4)
        return "kept"

    cut_off = [started(long, url=proxy.url, **SHORT) for _ in range(2)]
    key = insert_task(db, program="long")
    until(lambda: ran)
    proxy.cut()
    time.sleep(3)
    proxy.mend()
    settled(db, key)
    row = task(db, key)
    assert (row.exec_status, row.result, row.claims) == (3, '"kept"', 1)
    assert len(ran) == 1
    assert all(watching.lives for watching in cut_off)


def held_up() -> tuple[Any, list[str], threading.Event]:
    """A program that runs until the event is set, and the flows for which it was begun."""
    ran: list[str] = []
    over = threading.Event()

    @program
    def long(call: Call) -> str:
        ran.append(call.flow_id)
        over.wait(20)
        return "kept"

    return long, ran, over


@pytest.mark.needs("many_writers")
def test_who_is_back_first_waits_for_the_others(db: Database, started: Watch, url: str) -> None:
    """The lease of a watcher that is still cut off has ended, and yet its task is not taken: it may be late."""
    long, ran, over = held_up()
    with Proxy(url) as far, Proxy(url) as near:
        started(long, url=far.url, **SHORT)
        key = insert_task(db, program="long")
        until(lambda: ran)
        patience_s = 6 * SHORT["lease_s"]
        other = started(long, quick_instead, url=near.url, **{**SHORT, "lease_s": patience_s, "reap_s": 0.1})
        for wire in (far, near):
            wire.cut()
        time.sleep(2 * SHORT["lease_s"])
        near.mend()
        settled(db, insert_task(db, "found", program="slow"))  # so it has looked, and could have taken
        assert other.watcher._heartbeat.in_contact_s < patience_s
        far.mend()
        until(lambda: other.watcher._heartbeat.in_contact_s > patience_s + 1)
        over.set()
        settled(db, key)
    assert (task(db, key).claims, len(ran)) == (1, 1)


@contextmanager
def locked(db: Database) -> Iterator[None]:
    """Somebody holds what every beat needs."""
    with db.transaction() as conn:  # on SQLite it has the one write lock
        if db.can.row_locks:
            conn.execute(select(watcher.c.watcher_id).with_for_update()).all()
        yield


@pytest.mark.parametrize("leases", [0.9, 1.1, 1.5])
def test_a_lock_that_outlasts_the_lease_costs_nobody_a_task(db: Database, started: Watch, leases: float) -> None:
    """Nobody can beat, so every lease ends; who gets through first must not take the end of the others' for death."""
    long, ran, over = held_up()
    pace = {**SHORT, "lease_s": 2.0, "heartbeat_s": 0.5, "reap_s": 0.05}
    watching = [started(long, workers=1, **pace) for _ in range(2)]
    keys = [insert_task(db, f"f{number}", program="long") for number in range(2)]
    until(lambda: len(ran) == 2)
    until(lambda: all(one.watcher._heartbeat.in_contact_s > pace["lease_s"] for one in watching))
    with locked(db):
        time.sleep(leases * pace["lease_s"])
    time.sleep(1.5 * pace["lease_s"])
    over.set()
    settled(db, *keys)
    assert [(task(db, key).claims, task(db, key).losses) for key in keys] == [(1, 0), (1, 0)]


def test_what_had_not_begun_when_the_lease_ended_does_not_begin_any_more(
    db: Database, started: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may run it by then: it is handed back, and claimed anew."""
    monkeypatch.setattr("watcher.loop.MAX_LINGER_S", 60.0)
    begun: list[tuple[str, int]] = []
    over = threading.Event()

    @program
    def notes(call: Call) -> None:
        begun.append((call.flow_id, call.fence))
        over.wait(20)

    watching = started(notes, workers=1, lease_s=2.0, heartbeat_s=0.5, interval_s=0.1)
    watching.watcher._pace.ahead = lambda: 5  # type: ignore[method-assign]
    keys = [insert_task(db, f"f{number}", program="notes") for number in range(3)]
    until(lambda: len(watching.watcher._pool.slots) == 3 and begun)
    with locked(db):
        until(lambda: not watching.watcher._heartbeat.holds)
    until(lambda: watching.watcher._heartbeat.holds)
    over.set()  # the worker is free now, and the others are next
    settled(db, *keys)
    first = begun[0][0]
    assert sorted(begun[1:]) == sorted((key.flow_id, 2) for key in keys if key.flow_id != first)
    assert all(task(db, key).attempt == 1 for key in keys)


@pytest.mark.needs("many_writers")
def test_the_answer_to_the_first_commit_of_a_watcher_may_be_lost(db: Database, watch: Watch, proxy: Proxy) -> None:
    watching = watch(url=proxy.url, **SHORT)
    until(lambda: rows(db, watcher))
    watching.stop()
    proxy.drop_commits(1)  # its connections exist already: this one is of the enlisting
    again = Heartbeat(watching.db, "again", Settings(heartbeat_in="thread"))
    again.start()
    again.stop()
    assert proxy.dropping == 0
    assert "again" in {row.watcher_id for row in rows(db, watcher)}


@pytest.mark.needs("many_writers")
def test_lost_answers_to_commits_lose_and_double_nothing(db: Database, started: Watch, proxy: Proxy) -> None:
    ran: Counter[tuple[str, int]] = Counter()
    lock = threading.Lock()

    @program
    def note(call: Call) -> None:
        with lock:
            ran[call.flow_id, call.exec_seq] += 1

    define(db, steps=4, program="note")
    watching = started(note, url=proxy.url, workers=3, interval_s=0.1)
    flows = [start(db) for _ in range(10)]
    for _ in range(6):
        proxy.drop_commits(1)
        flows.append(start(db))
        time.sleep(0.1)
    until(lambda: proxy.dropping == 0)
    finished(db, *flows, seconds=40)
    assert proxy.dropped == 6
    assert len(ran) == 4 * len(flows)
    assert set(ran.values()) == {1}
    assert {row.claims for flow_id in flows for row in tasks(db, flow_id)} <= {1, 2}
    until(lambda: running(db) == 0)
    assert watching.lives
    assert len(watching.watcher._pool.slots) == 0


@pytest.mark.needs("many_writers")
def test_rows_claimed_by_a_commit_without_answer_are_run(db: Database, watch: Watch, proxy: Proxy) -> None:
    """The claim is committed, and the database then stays away for a while."""
    define(db, program="Noop")
    watching = watch(url=proxy.url, **SHORT)
    until(lambda: watching.watcher._lookout.idle_looks >= 2)
    cycle = Cycle(watching.db, watching.id, Settings())
    flow_id = start(db)
    until(lambda: task(db, Key(flow_id, 1)).exec_status == 3)
    watching.stop()

    flow_id = start(db)
    proxy.drop_commits(1)
    (claimed,) = cycle.turn([], 5).claimed
    assert claimed.key == Key(flow_id, 1)
    assert cycle.turn([], 5).claimed == []
    assert status(db, claimed.key) == 1
    proxy.drop_commits(1)
    ((_, verdict),) = cycle.turn([Settlement(claimed, "finish")], 0).settled
    assert verdict is Verdict.ALREADY
    assert status(db, claimed.key) == 3


@pytest.mark.needs("many_writers")
def test_a_claim_read_back_before_an_outage_is_not_lost(db: Database, url: str, proxy: Proxy) -> None:
    define(db, program="Noop")
    flow_id = start(db)
    opened = open_database(proxy.url)
    cycle = Cycle(opened, "w", Settings())
    claim_id = new_claim_id()
    db.transact(lambda conn: claim_ready(conn, db, "w", claim_id, 1))
    cycle._unknown.append(claim_id)
    cycle._read_back()  # as a turn does first
    proxy.cut()
    with pytest.raises(DatabaseUnavailable):
        cycle.turn([], 5)
    proxy.mend()
    assert [item.key for item in cycle.turn([], 5).claimed] == [Key(flow_id, 1)]
    opened.close()


def test_rows_that_name_a_watcher_which_does_not_run_them_go_back(
    db: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a COMMIT that arrived later than the reading back: here while the watcher is idle."""
    monkeypatch.setattr("watcher.comparison.IDLE_S", 0.5)
    watching = watch()
    until(lambda: watching.watcher._lookout.idle_looks >= 2)
    key = insert_task(db, program="Noop", wait_count=0, exec_status=1, owner=watching.id, claim_id=new_claim_id())
    settled(db, key)
    row = task(db, key)
    assert (row.exec_status, row.attempt, row.owner) == (3, 1, watching.id)


BAD_ERRORS = {"sqlite": "\ud800", "mariadb": "\ud800", "postgresql": "\x00"}


@pytest.mark.parametrize("size", [1, 20])
def test_a_settlement_that_the_database_refuses_stands_alone(db: Database, kind: str, size: int) -> None:
    define(db, program="Noop")
    for _ in range(size):
        start(db)
    cycle = Cycle(db, "w", Settings())
    claimed = cycle.turn([], size).claimed
    assert len(claimed) == size
    batch = [Settlement(item, "finish", result="1") for item in claimed]
    poison = size // 2
    batch[poison] = Settlement(claimed[poison], "suspend", reason="failed", error=f"bad {BAD_ERRORS[kind]} text")
    turn = cycle.turn(batch, 5)
    assert {verdict for _, verdict in turn.settled} == {Verdict.ACCEPTED}
    assert {item.task.key for item, _ in turn.settled} == {item.key for item in claimed}
    assert turn.claimed == []
    found = {item.key: task(db, item.key) for item in claimed}
    bad = found.pop(claimed[poison].key)
    assert (bad.exec_status, bad.reason) == (2, "bad result")
    assert "the database refuses" in bad.error
    assert {row.exec_status for row in found.values()} <= {3}


def test_a_watcher_beats_while_every_other_connection_is_taken(db: Database, watch: Watch) -> None:
    watching = watch(**SHORT)
    until(lambda: watching.watcher._heartbeat.holds)
    with ExitStack() as taken:
        for engine, most in ((watching.watcher._db.engine, 15), (watching.watcher._for_programs.engine, 4)):
            for _ in range(most):
                taken.enter_context(engine.connect())
        time.sleep(2 * SHORT["lease_s"])
        assert watching.watcher._heartbeat.holds
    settled(db, insert_task(db, program="Noop"))
