"""Transactions against real failures: deadlocks, killed connections, refused values, and a COMMIT nobody answered."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from factories import define, rows, sql, together
from servers import free_port
from sqlalchemy import Connection, insert, select, text, update

from engine.database import Database, DuplicateKey, open_database, wait_until_up
from engine.dialects import pinging
from engine.dialects.timeouts import Timeouts
from engine.errors import BadDatabaseURL, DatabaseUnavailable, FatalDatabaseError, OutcomeUnknown, PoisonData
from engine.tables import task_definition, task_stat

STEP = {"task_id": "w", "task_seq": 9, "program": "P"}


def touch(conn: Connection, seq: int) -> None:
    conn.execute(update(task_definition).where(task_definition.c.task_seq == seq).values(param1_key="x"))


# --- tried again, invisibly -------------------------------------------------------------------------------------------


@pytest.mark.needs("row_locks")
def test_a_deadlock_is_tried_again(db: Database) -> None:
    define(db, steps=2)
    both = threading.Barrier(2)
    tries: list[int] = []

    def crossing(first: int, second: int) -> None:
        met = False

        def work(conn: Connection) -> None:
            nonlocal met
            tries.append(first)
            touch(conn, first)
            if not met:
                met = True
                both.wait(10)
            touch(conn, second)

        db.transact(work)

    together(lambda: crossing(1, 2), lambda: crossing(2, 1))
    assert len(tries) > 2
    assert {row.param1_key for row in rows(db, task_definition)} == {"x"}


@pytest.mark.needs("row_locks")
def test_a_lock_that_lasts_is_waited_for(db: Database) -> None:
    define(db)
    held, tries = threading.Event(), []

    def hold() -> None:
        with db.transaction() as conn:
            touch(conn, 1)
            held.set()
            time.sleep(2.6)

    def wait() -> None:
        held.wait(10)

        def work(conn: Connection) -> None:
            tries.append(1)
            touch(conn, 1)

        db.transact(work)

    together(hold, wait)
    assert len(tries) == 2


def connection_id(conn: Connection, db: Database) -> int:
    ask = "SELECT pg_backend_pid()" if db.can.partial_indexes else "SELECT CONNECTION_ID()"
    return int(conn.exec_driver_sql(ask).scalar_one())


def kill(db: Database, number: int) -> None:
    with db.transaction() as conn:
        conn.exec_driver_sql(f"SELECT pg_terminate_backend({number})" if db.can.partial_indexes else f"KILL {number}")


@pytest.mark.needs("row_locks")
def test_a_connection_killed_on_the_way_is_tried_again(db: Database) -> None:
    tries: list[int] = []

    def work(conn: Connection) -> None:
        tries.append(connection_id(conn, db))
        conn.execute(insert(task_definition).values(**STEP))
        if len(tries) == 1:
            kill(db, tries[0])
            time.sleep(0.1)
            conn.execute(select(task_definition.c.task_id)).all()

    db.transact(work)
    assert len(tries) == 2
    assert len(rows(db, task_definition)) == 1


@pytest.mark.needs("row_locks")
def test_a_connection_killed_while_idle_is_replaced(db: Database) -> None:
    with db.read() as conn:
        number = connection_id(conn, db)
    other = open_database(db.url.render_as_string(hide_password=False))
    kill(other, number)
    other.close()
    assert rows(db, task_definition) == []


@pytest.mark.needs("row_locks")
def test_a_connection_killed_a_moment_after_its_use_is_replaced_too(db: Database) -> None:
    other = open_database(db.url.render_as_string(hide_password=False))
    for _ in range(5):
        kill(other, db.transact(lambda conn: connection_id(conn, db)))
        db.transact(lambda conn: conn.execute(select(task_definition)).all())
        kill(other, db.transact(lambda conn: connection_id(conn, db)))
        assert rows(db, task_definition) == []
        kill(other, db.transact(lambda conn: connection_id(conn, db)))
        with db.transaction() as conn:
            touch(conn, 1)
    other.close()


@pytest.mark.needs("row_locks")
def test_connections_at_work_are_not_asked_whether_they_live(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    one = open_database(db.url.render_as_string(hide_password=False), connections=1)
    asked: list[Any] = []
    monkeypatch.setattr(one.engine.dialect, "do_ping", lambda connection: asked.append(connection) or True)
    monkeypatch.setattr(pinging, "RESTED_S", 60.0)
    one.transact(lambda conn: touch(conn, 1))
    one.transact(lambda conn: touch(conn, 1))
    assert not asked
    assert rows(one, task_definition) == []
    assert len(asked) == 1, "what does not run again by itself asks first"
    monkeypatch.setattr(pinging, "RESTED_S", 0.0)
    one.transact(lambda conn: touch(conn, 1))
    assert len(asked) == 2, "and so does what has rested"
    one.close()


def test_a_file_that_another_process_writes_is_waited_for(db: Database) -> None:
    if db.can.many_writers:
        pytest.skip("here writers wait for rows, not for the file")
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE'); print('held', flush=1);"
        " sys.stdin.readline()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(db.url.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with db.engine.connect() as conn:
        conn.connection.execute("PRAGMA busy_timeout = 20")  # type: ignore[attr-defined]
    with pytest.raises(DatabaseUnavailable, match="locked"), db.transaction():
        raise AssertionError("two writers")
    assert rows(db, task_definition) == [], "a reader does not wait"
    threading.Timer(0.3, lambda: holder.communicate("go\n")).start()
    db.transact(lambda conn: conn.execute(insert(task_definition).values(**STEP)))
    assert len(rows(db, task_definition)) == 1
    holder.wait(10)


def test_a_reader_does_not_wait_for_a_writer(db: Database) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_definition).values(**STEP))
        began = time.monotonic()
        assert rows(db, task_definition) == []
        assert time.monotonic() - began < 4  # it would wait for five, or for ever


def test_an_error_of_the_work_rolls_back(db: Database) -> None:
    def work(conn: Connection) -> None:
        conn.execute(insert(task_definition).values(**STEP))
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        db.transact(work)
    assert rows(db, task_definition) == []


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_taken_key(db: Database) -> None:
    define(db)
    with pytest.raises(DuplicateKey):
        define(db)


VALUES: dict[str, dict[str, Any]] = {
    "missing": {"program": None},
    "out of range": {"task_priority": 100},
    "far out of range": {"task_seq": 2**70},
    "lone surrogate": {"program": "\ud800"},
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_is_refused(db: Database, name: str) -> None:
    tries: list[int] = []

    def work(conn: Connection) -> None:
        tries.append(1)
        conn.execute(insert(task_definition).values(**{**STEP, **VALUES[name]}))

    with pytest.raises(PoisonData):
        db.transact(work)
    assert len(tries) == 1
    assert rows(db, task_definition) == []


@pytest.mark.needs("row_locks")
def test_a_text_that_is_too_long(db: Database) -> None:
    with pytest.raises(PoisonData):
        db.transact(lambda conn: conn.execute(insert(task_definition).values(**{**STEP, "program": "x" * 257})))


@pytest.mark.needs("partial_indexes")
def test_a_nul_in_a_text(db: Database) -> None:
    with pytest.raises(PoisonData):
        db.transact(lambda conn: conn.execute(insert(task_definition).values(**{**STEP, "program": "a\x00b"})))


@pytest.mark.parametrize("statement", ["SELECT * FROM no_such_table", "SELECT no_such_column FROM kr_task_stat"])
def test_what_is_not_there_is_fatal(db: Database, statement: str) -> None:
    with pytest.raises(FatalDatabaseError):
        sql(db, statement)


@pytest.mark.needs("row_locks")
def test_a_database_that_is_not_there_is_fatal_at_once(db: Database) -> None:
    nowhere = open_database(db.url.set(database="nowhere").render_as_string(hide_password=False))
    began = time.monotonic()
    with pytest.raises(FatalDatabaseError):
        wait_until_up(nowhere, 30)
    assert time.monotonic() - began < 5
    nowhere.close()


def test_all_connections_in_use(db: Database) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import QueuePool

    small = Database(
        create_engine(db.url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.1), db.dialect
    )
    with small.read(), pytest.raises(DatabaseUnavailable, match="in use"), small.read():
        pass
    small.close()


# --- a COMMIT without an answer ---------------------------------------------------------------------------------------


class Proxy:
    """Passes bytes on, until it is armed and sees a COMMIT: then it cuts the line, before or after sending it on."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.armed: str | None = None
        self.cut = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self.sockets += [client, server]
            deaf = threading.Event()
            threading.Thread(target=self._pass, args=(client, server, deaf, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, deaf, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, deaf: threading.Event, watch: bool) -> None:
        try:
            while data := source.recv(65_536):
                if watch and self.armed and b"COMMIT" in data.upper():
                    deaf.set()
                    if self.armed == "after":
                        sink.sendall(data)
                        time.sleep(0.2)
                    self.armed = None
                    self.cut += 1
                    break
                if not deaf.is_set():
                    sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.close()
        for end in self.sockets:
            end.close()


@pytest.fixture
def proxied(db: Database) -> Iterator[tuple[Database, Proxy]]:
    if not db.can.row_locks:
        pytest.skip("no network in between")
    assert db.url.port is not None
    proxy = Proxy(db.url.port)
    far = open_database(db.url.set(port=proxy.port).render_as_string(hide_password=False))
    yield far, proxy
    far.close()
    proxy.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_commit_without_an_answer_is_not_tried_again(db: Database, proxied: tuple[Database, Proxy], cut: str) -> None:
    far, proxy = proxied
    tries: list[int] = []

    def work(conn: Connection) -> None:
        tries.append(1)
        conn.execute(insert(task_definition).values(**STEP))
        proxy.armed = cut

    with pytest.raises(OutcomeUnknown, match="the answer to COMMIT was lost"):
        far.transact(work)
    assert (len(tries), proxy.cut) == (1, 1)
    assert len(rows(db, task_definition)) == (1 if cut == "after" else 0)
    assert len(rows(far, task_definition)) == len(rows(db, task_definition)), "and goes on with a new connection"


def test_both_halves_of_a_lost_commit_can_be_read_back(db: Database, proxied: tuple[Database, Proxy]) -> None:
    from factories import claim, enlisted, settle_as, start, states

    from engine.claim import claim_ready
    from engine.claimed import claimed_under
    from engine.ids import new_claim_id
    from engine.settle import Settlement, Verdict, settle

    far, proxy = proxied
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    told = [Settlement(claim(db)[0], "finish", result="1")]
    claim_id = new_claim_id()

    def fused(conn: Connection) -> None:
        settle(conn, far, "watcher-1", told)
        claim_ready(conn, far, "watcher-1", claim_id, 10)
        proxy.armed = "after"

    with pytest.raises(OutcomeUnknown):
        far.transact(fused)
    assert settle_as(db, told).verdicts == [Verdict.ALREADY]
    with db.read() as conn:
        [held] = claimed_under(conn, claim_id)
    assert held.key == (flow_id, 2)
    assert states(db, flow_id) == [(3, -1), (1, 0)]


# --- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, words",
    [
        ("", "is no database URL: write sqlite:///file.db"),
        ("nonsense", "is no database URL"),
        ("mysql://host:port/x", "is no database URL"),
        ("oracle://host/x", "no database is called 'oracle'"),
        ("mysql+mysqldb://host/x", "pip install pymysql"),
        ("postgresql+asyncpg2://host/x", "Penstock uses postgresql\\+psycopg"),
    ],
)
def test_bad_urls_say_what_to_write(url: str, words: str) -> None:
    with pytest.raises(BadDatabaseURL, match=words):
        open_database(url)


def test_a_bad_url_does_not_show_its_password() -> None:
    with pytest.raises(BadDatabaseURL) as caught:
        open_database("mysql://me:secret@host:port/x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "postgresql", "postgres"])
def test_plain_schemes_get_the_driver_that_is_used(scheme: str) -> None:
    db = open_database(f"{scheme}://me@host/x")
    assert db.url.drivername in ("mysql+pymysql", "mariadb+pymysql", "postgresql+psycopg")
    db.close()


@pytest.mark.parametrize("scheme", ["mysql", "postgresql"])
def test_waiting_for_a_server_ends(scheme: str) -> None:
    db = open_database(f"{scheme}://me:secret@127.0.0.1:{free_port()}/x")
    heard: list[str] = []
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1.* did not answer within 0.5 seconds") as caught:
        wait_until_up(db, 0.5, on_wait=heard.append)
    assert heard
    assert "secret" not in str(caught.value)
    db.close()


def test_waiting_for_a_server_that_answers(db: Database) -> None:
    wait_until_up(db, 0)


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.mark.needs("row_locks")
def test_servers_of_today_skip_locked_rows(db: Database) -> None:
    assert db.can.skip_locked


@pytest.mark.needs("row_locks")
def test_an_empty_claim_blocks_no_registration(db: Database) -> None:
    """Under a stricter isolation the empty read would lock the gap that the new rows belong in."""
    from factories import start

    from engine.claim import claim_ready

    define(db)
    with db.transaction() as conn:
        assert claim_ready(conn, db, "w", "c", 5) == []
        began = time.monotonic()
        start(db)
        assert time.monotonic() - began < 4  # it would wait for five, or for ever
    assert len(rows(db, task_stat)) == 1


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_server_that_keeps_the_connection_and_never_answers(db: Database) -> None:
    """Its process is stopped; the client gives up on that connection and takes another one."""
    opened = open_database(db.address, connections=1, timeouts=Timeouts(statement_s=0.5, patience_s=0.5))
    ask = text("SELECT pg_backend_pid()")
    stuck = opened.transact(lambda conn: int(conn.scalar(ask)))
    os.kill(stuck, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert opened.transact(lambda conn: int(conn.scalar(ask))) != stuck
        assert time.monotonic() - begun < 20
    finally:
        os.kill(stuck, signal.SIGCONT)
        opened.close()
