"""The database of a run: private, killed and started again on its own data, filled up, locked, and looked over."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import servers
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from engine import migrate
from engine.database import Database, open_database
from tests.chaos import families

RESTARTS = 10
DISK_BYTES = 256 << 20


class Store:
    """A migrated, empty database. `url` leads to it straight, past every wire."""

    faults: tuple[str, ...] = ()
    """What can be done to this database, beyond locking its rows."""

    url: str

    def open(self) -> Database:
        return open_database(self.url, role="chaos")

    def migrate(self) -> None:
        db = self.open()
        migrate.init(db, samples=False)
        db.close()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Somebody's session holds rows that everybody needs."""
        raise NotImplementedError

    def left_over(self) -> list[str]:
        """What clients have left behind once all of them are gone: transactions, locks, damage."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave nothing."""


class SQLiteStore(Store):
    """A file; in a small file system of its own where we may mount one, so that its disk can be full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "database"
        self.folder.mkdir()
        self.mounted = self._mount()
        self.faults = ("disk-full",) if self.mounted else ()
        self.url = f"sqlite:///{self.folder}/penstock.db"

    def _mount(self) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "penstock-chaos", str(self.folder)]
        try:
            return os.getuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return False

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        ballast = self.folder / "ballast"
        try:
            with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
                while True:
                    stream.write(b"\0" * (1 << 16))
            yield
        finally:
            ballast.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        db = self.open()
        try:
            with db.transaction():  # begins with the write lock
                yield
        finally:
            db.close()

    def left_over(self) -> list[str]:
        db = self.open()
        try:
            with db.read() as conn:
                said = [str(row[0]) for row in conn.exec_driver_sql("PRAGMA integrity_check")]
            with db.transaction():
                pass
        except Exception as error:
            return [f"the write lock cannot be had: {error}"]
        finally:
            db.close()
        return [] if said == ["ok"] else [f"integrity_check: {line}" for line in said]

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], check=False, capture_output=True)


class ServerStore(Store):
    """A private server. Its commits survive its own end: the log is with the system before a COMMIT is answered."""

    faults = ("kill-database",)
    extra: tuple[str, ...] = ()
    transactions: str
    """A query for the transactions under way that are not our own."""

    def __init__(self, kind: str) -> None:
        server = servers.start(kind)
        if server is None:
            raise SystemExit(f"no {kind} server on this machine")
        self.server = server
        assert server.process is not None
        command = Path(f"/proc/{server.process.pid}/cmdline").read_bytes().split(b"\0")[:-1]
        self.command = [part.decode() for part in command] + list(self.extra)
        owner = Path(f"/proc/{server.process.pid}").stat().st_uid
        self.user = None if owner == os.getuid() else pwd.getpwuid(owner).pw_name
        try:
            self.kill()
            self.restart()
            self.url = server.create("chaos")
        except BaseException:
            server.stop()
            raise

    def kill(self) -> None:
        """End the server and its children, as a power cut of its machine would."""
        process = self.server.process
        assert process is not None
        families.kill(process.pid)
        process.wait()

    def restart(self) -> None:
        """On the same data and the same port. Errors: RuntimeError if it does not start, asked several times: a server
        refuses while the system still takes the one before it apart."""
        for left in reversed(range(RESTARTS)):
            try:
                self.server.start(self.command, self.user)
                return
            except RuntimeError:
                if not left:
                    raise
                time.sleep(0.5)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        engine = create_engine(self.url)
        query = "SELECT 1 FROM kr_task_stat WHERE exec_status IN (0, 1) ORDER BY 1 LIMIT 50 FOR UPDATE"
        with contextlib.ExitStack() as stack:
            stack.callback(engine.dispose)
            with contextlib.suppress(SQLAlchemyError):  # the server may be dead, or be killed meanwhile
                stack.enter_context(contextlib.suppress(SQLAlchemyError))
                conn = stack.enter_context(engine.begin())
                conn.execute(text(query)).all()
            yield

    def left_over(self) -> list[str]:
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        try:
            deadline = time.monotonic() + 10
            while True:  # the server needs a moment to notice that a client is gone
                with engine.connect() as conn:
                    rows = conn.exec_driver_sql(self.transactions).all()
                if not rows or time.monotonic() > deadline:
                    return [f"transaction left open: {tuple(row)}" for row in rows]
                time.sleep(0.2)
        finally:
            engine.dispose()

    def close(self) -> None:
        self.server.stop()


class MariaDBStore(ServerStore):
    extra = ("--innodb-flush-log-at-trx-commit=1",)
    transactions = "SELECT trx_id, trx_state, trx_started, trx_query FROM information_schema.innodb_trx"


class PostgreSQLStore(ServerStore):
    transactions = """
        SELECT pid, state, application_name, query FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND state IS DISTINCT FROM 'idle'
           AND backend_type = 'client backend'"""


def make(kind: str, folder: Path) -> Store:
    """A migrated database of this kind; on any error nothing of it is left."""
    store: Store = (
        SQLiteStore(folder) if kind == "sqlite" else MariaDBStore(kind) if kind == "mariadb" else PostgreSQLStore(kind)
    )
    try:
        store.migrate()
    except BaseException:
        store.close()
        raise
    return store
