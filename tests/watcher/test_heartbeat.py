"""The heartbeat's own process: it beats whatever programs do to the watcher, and for no watcher that is not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psutil
import pytest
from factories import insert_task, rows, sql, task
from freezing import freeze
from patience import until
from processes import kill
from sqlalchemy import make_url, select
from waiting import settled, status
from watching import Watch

from engine.database import Database
from engine.tables import watcher
from penstock import Call, program
from watcher.heartbeat import child as beats
from watcher.heartbeat import process as beat_process
from watcher.heartbeat.beat import Beat, Member
from watcher.heartbeat.process import Order
from watcher.lease import Heartbeat
from watcher.settings import Settings

SHORT: dict[str, Any] = {"lease_s": 1.5, "heartbeat_s": 0.4, "interval_s": 0.1}
OWN: dict[str, Any] = {**SHORT, "heartbeat_in": "process"}
CHILD = Path(__file__).parent / "child.py"
Child = Callable[..., "subprocess.Popen[bytes]"]
on_one_database = pytest.mark.parametrize("kind", ["sqlite"])
"""For what does not depend on the database."""


@program("hogs")
def quick_instead() -> str:
    return "survivor"


@pytest.fixture
def child(url: str, tmp_path: Path) -> Iterator[Child]:
    """`child(seconds)`: a watcher process that leads a group of its own, and whose programs take so long."""
    processes: list[subprocess.Popen[bytes]] = []
    errors = (tmp_path / "errors").open("wb")

    def begin(seconds: float, stall_s: float = 300.0) -> subprocess.Popen[bytes]:
        command = [sys.executable, CHILD, url, seconds, 1.5, 0.4, stall_s]
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        kill(process)
        assert process.stdout is not None
        process.stdout.close()
    errors.close()


def begun(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert any(line == b"begun\n" for line in process.stdout)


def heartbeat_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    """The heartbeat's process, once it obeys."""

    def found() -> psutil.Process | None:
        for one in psutil.Process(process.pid).children():
            if "watcher.heartbeat.process" in one.cmdline():
                return one
        return None

    beats = until(found)
    assert isinstance(beats, psutil.Process)
    return beats


def has_beaten(db: Database, since: Any) -> bool:
    return any(row.beat_ts > since for row in rows(db, watcher))


def test_a_program_that_keeps_the_interpreter_to_itself_is_not_lost(db: Database, watch: Watch, child: Child) -> None:
    """Three leases long no thread of that watcher runs; another watcher stands by."""
    process = child(4.5)
    until(lambda: rows(db, watcher))
    (first,) = rows(db, watcher)
    heartbeat_of(process)
    until(lambda: has_beaten(db, first.beat_ts))
    key = insert_task(db, program="hogs")
    begun(process)
    watch(quick_instead, **SHORT)
    settled(db, key)
    row = task(db, key)
    assert (row.exec_status, row.result, row.claims, row.losses) == (3, '"child"', 1, 0)


@on_one_database
@pytest.mark.parametrize("whom", [os.kill, os.killpg], ids=["alone", "group"])
def test_a_stopped_watcher_is_not_kept_alive(db: Database, watch: Watch, child: Child, whom: Any) -> None:
    process = child(600)
    key = insert_task(db, program="slow")
    begun(process)
    heartbeat_of(process)
    time.sleep(0.5)
    freeze(process.pid, db, whom)

    @program("slow")
    def instead() -> str:
        return "survivor"

    watch(instead, **SHORT)
    settled(db, key)
    row = task(db, key)
    assert (row.result, row.losses) == ('"survivor"', 1)
    whom(process.pid, signal.SIGCONT)
    ended = next(item for item in rows(db, watcher) if item.pid == process.pid)
    until(lambda: has_beaten(db, ended.lease_until_ts))


@on_one_database
def test_it_ends_with_a_killed_watcher(db: Database, child: Child) -> None:
    process = child(600)
    beats = heartbeat_of(process)
    until(lambda: rows(db, watcher))
    process.kill()
    process.wait()
    killed_at = time.monotonic()
    until(lambda: not beats.is_running() or beats.status() == psutil.STATUS_ZOMBIE)
    assert time.monotonic() - killed_at < 10
    (row,) = rows(db, watcher)
    time.sleep(1)
    assert rows(db, watcher)[0].beat_ts == row.beat_ts


@on_one_database
def test_it_never_beats_for_a_watcher_that_ended_before_it_began(db: Database) -> None:
    """It would enlist the dead, with a lease."""
    settings = Settings()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    member = asdict(Member("dead", gone.pid, settings.lease_s))
    order = Order(db.address, member, settings.heartbeat_s, settings.stall_s, asdict(settings.beat_timeouts))
    command = [sys.executable, "-m", "watcher.heartbeat.process"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        process.stdin.flush()
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert rows(db, watcher) == []


@on_one_database
def test_a_signal_to_the_group_ends_it_after_the_watcher_only(db: Database, child: Child) -> None:
    process = child(6)
    until(lambda: rows(db, watcher))
    (row,) = rows(db, watcher)
    beats = heartbeat_of(process)
    until(lambda: has_beaten(db, row.beat_ts))
    key = insert_task(db, program="slow")
    begun(process)
    os.killpg(process.pid, signal.SIGTERM)
    until(lambda: rows(db, watcher)[0].state == "draining")
    assert beats.is_running()
    assert process.wait(20) == 0
    assert status(db, key) == 3
    assert rows(db, watcher)[0].state == "stopped"
    until(lambda: not beats.is_running())


def test_a_signal_to_the_group_may_come_before_it_ignores_any() -> None:
    """It takes a while to start, and a group is told to end at any time."""
    with beats._begin() as process:
        for number in beat_process.IGNORED:
            process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
    assert process.returncode == 0, "it ends with the pipe of its orders"
    assert not set(beat_process.IGNORED) & signal.pthread_sigmask(signal.SIG_BLOCK, ())


@on_one_database
def test_another_takes_its_place_when_it_dies(db: Database, watch: Watch) -> None:
    watching = watch(**OWN)
    heartbeat = watching.watcher._heartbeat
    first = until(lambda: heartbeat.pid)
    os.kill(first, signal.SIGKILL)
    until(lambda: heartbeat.pid not in (None, first))
    (row,) = rows(db, watcher)
    until(lambda: has_beaten(db, row.lease_until_ts))
    assert heartbeat.holds
    watching.stop()
    assert heartbeat.pid is None


def test_the_watcher_beats_itself_until_its_process_is_heard_of(
    db: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many processes that start at once take longer than a short lease; here one never comes to its first beat."""
    silent = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    monkeypatch.setattr(beats, "_begin", lambda: subprocess.Popen(silent, stdin=PIPE, stdout=PIPE, bufsize=0))
    watching = watch(**OWN)
    heartbeat = watching.watcher._heartbeat
    until(lambda: heartbeat.pid)
    (row,) = rows(db, watcher)
    for _ in range(3):
        until(lambda since=row.lease_until_ts: has_beaten(db, since))
        (row,) = rows(db, watcher)
        assert heartbeat.holds
    assert watching.lives


@on_one_database
def test_a_watcher_that_stands_still_is_ended(db: Database, child: Child, tmp_path: Path) -> None:
    """For longer than it may: a supervisor starts it anew, and its tasks go on elsewhere."""
    process = child(60, 2.0)
    insert_task(db, program="hogs")
    begun(process)
    assert process.wait(20) == -signal.SIGKILL
    until(lambda: "has stood still for" in (tmp_path / "errors").read_text())


def test_a_deleted_row_is_made_anew_for_the_watcher(db: Database, watch: Watch) -> None:
    watching = watch(**OWN, label="mine", queues=("default", "fast"))
    until(lambda: rows(db, watcher))
    sql(db, "DELETE FROM kr_watcher")
    (row,) = until(lambda: rows(db, watcher))
    assert (row.watcher_id, row.pid, row.label, row.slots, row.queues) == (
        watching.id,
        os.getpid(),
        "mine",
        4,
        "default,fast",
    )


@on_one_database
def test_the_address_of_the_database_is_no_secret_of_its_command_line(
    db: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_DB", db.address)
    watching = watch(**OWN)
    beats = psutil.Process(until(lambda: watching.watcher._heartbeat.pid))
    place = str(make_url(db.address).database)
    until(lambda: watching.watcher._heartbeat._answered_at > beats.create_time() - time.time() + time.monotonic())
    assert place not in " ".join(beats.cmdline())
    assert not [name for name, value in beats.environ().items() if place in value or name.startswith("PENSTOCK")]


@pytest.mark.needs("row_locks")
def test_while_only_the_beats_are_blocked_nothing_is_claimed(db: Database, started: Watch) -> None:
    ran: list[int] = []

    @program
    def notes(call: Call) -> None:
        ran.append(call.exec_seq)

    watching = started(notes, **OWN)
    heartbeat = watching.watcher._heartbeat
    with db.engine.connect() as blocking:
        blocking.execute(select(watcher).with_for_update()).all()
        until(lambda: not heartbeat.holds)
        assert heartbeat.silent
        key = insert_task(db, program="notes")
        time.sleep(1)
        assert (ran, status(db, key)) == ([], 0)
        blocking.rollback()
    settled(db, key)
    until(lambda: not heartbeat.silent)
    assert watching.lives


@on_one_database
def test_what_the_beats_say_of_the_lease(db: Database) -> None:
    """By the beginnings of beats, however late they are heard of."""
    heartbeat = Heartbeat(db, "w", Settings(lease_s=1.0, heartbeat_s=0.2, heartbeat_in="thread"))
    at = time.monotonic()
    assert (heartbeat.holds, heartbeat.in_contact_s) == (False, 0)
    heartbeat.note(Beat(at, at, "kept"))
    heartbeat.note(Beat(at + 0.4, at + 0.5, "kept"))
    assert heartbeat.holds_until == at + 1.4
    assert heartbeat._in_contact_since == at
    heartbeat.note(Beat(at + 0.9, at + 0.9, "down", "read-only"))
    assert (heartbeat.silent, heartbeat.in_contact_s, heartbeat.holds) == (False, 0, True)
    heartbeat.note(Beat(at + 0.9, at + 0.9, "silent", "time-out"))
    assert heartbeat.silent
    heartbeat.note(Beat(at + 0.9, at + 1.0, "kept"))
    assert (heartbeat.silent, heartbeat._in_contact_since) == (False, at + 1.0)
    heartbeat.note(Beat(at + 1.2, at + 1.6, "kept"))
    assert heartbeat._in_contact_since == at + 1.6, "the others have waited for as long"
    heartbeat.note(Beat(at + 9, at + 9, "kept"))
    assert heartbeat._in_contact_since == at + 9, "the lease had ended meanwhile"
    heartbeat._db.close()


def test_with_its_watcher_gone_it_ends_without_a_word() -> None:
    """The watcher may die at the moment of a report."""
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(SystemExit) as ended:
        beat_process._tell(write, Beat(0.0, 0.1, "kept"))
    assert ended.value.code is None
    os.close(write)


def test_a_connection_that_was_cut_is_no_traceback() -> None:
    """The pool of connections would write one to where the watcher's log goes, which this process has no part in."""
    code = "from watcher.heartbeat import process; process.main(); import logging; "
    code += "logging.getLogger('sqlalchemy.pool').error('Exception during reset or similar')"
    told = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")
