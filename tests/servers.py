"""Private database servers for the tests: on free ports, in a folder of their own, ended with the test run."""

from __future__ import annotations

import fcntl
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Does anything accept connections there?"""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def in_memory(least_bytes: int = 2 << 30) -> Path | None:
    """A folder in memory with room enough: tests need not wait for a disk to keep what they throw away."""
    folder = Path("/dev/shm")
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) and found.f_bavail * found.f_frsize >= least_bytes else None


INSTALLED = "PENSTOCK_TEST_INSTALLED"
"""Names the folder where a test run keeps what its first server of each kind was installed as."""


def installed(kind: str, data: Path, install: Callable[[Path], None]) -> None:
    """Make the data of a new server: a copy of what the first of this run was given, as installing takes seconds."""
    kept = os.environ.get(INSTALLED)
    if kept is None:
        install(data)
        return
    folder = Path(kept)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / kind).exists():
            install(data)
            subprocess.run(["cp", "-a", data, folder / f"{kind}.new"], check=True)
            (folder / f"{kind}.new").rename(folder / kind)
            return
    subprocess.run(["cp", "-a", folder / kind, data], check=True)  # its owner is the server's own account


class Server:
    """A server process that this test run owns. `url(name)` is a database in it."""

    admin: str
    """The URL of a database that is always there."""
    template: str

    def __init__(self, binary: Path, *, durable: bool = False) -> None:
        self.binary = binary
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-test-", dir=None if durable else in_memory()))
        self.folder.chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str | Path], user: str | None) -> None:
        self._command, self._user = command, user
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, user=user, start_new_session=True
            )
        self._await_answer()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            engine = create_engine(self.admin)
            try:
                with engine.connect():
                    return
            except DBAPIError:
                if time.monotonic() > deadline or self.process is None or self.process.poll() is not None:
                    log = (self.folder / "server.log").read_text(errors="replace")
                    raise RuntimeError(f"{self.binary} did not start:\n{log[-3000:]}") from None
                time.sleep(0.1)
            finally:
                engine.dispose()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self.process is not None
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        for process in family:  # PostgreSQL's hold the memory that the next start wants
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, 10)

    def revive(self) -> None:
        """Start it again on what is left on its disk; returns when it answers."""
        self.start(self._command, self._user)

    def create(self, name: str) -> str:
        """Create an empty database and return its URL."""
        engine = create_engine(self.admin, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return self.template.format(name=name)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT if "postgres" in self.binary.name else signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class MariaDBServer(Server):
    def __init__(self, binary: Path, *, durable: bool = False) -> None:
        super().__init__(binary, durable=durable)
        account = f"mysql+pymysql://root@127.0.0.1:{self.port}"
        self.admin, self.template = f"{account}/mysql", account + "/{name}"
        data = self.folder / "data"
        user = pwd.getpwuid(os.getuid()).pw_name
        own = self.folder / "tmp"  # a server that starts deletes the temporary tables of all others beside its own
        own.mkdir()
        own.chmod(0o777)

        def install(folder: Path) -> None:
            command = [_find("mariadb-install-db"), "--no-defaults", f"--datadir={folder}", f"--user={user}"]
            command += [f"--tmpdir={own}", "--auth-root-authentication-method=normal", "--skip-test-db"]
            made = subprocess.run([str(part) for part in command], capture_output=True, text=True)
            if made.returncode:
                raise RuntimeError(f"mariadb-install-db ended with {made.returncode}: {made.stderr[-2000:]}")

        installed("mariadb", data, install)
        options = [f"--datadir={data}", f"--port={self.port}", "--bind-address=127.0.0.1", f"--user={user}"]
        options += [
            f"--socket={self.folder}/sock",
            f"--tmpdir={own}",
            f"--innodb-flush-log-at-trx-commit={int(durable)}",
            "--skip-log-bin",
        ]
        self.start([binary, "--no-defaults", *options], user=None)


class PostgreSQLServer(Server):
    def __init__(self, binary: Path, *, durable: bool = False) -> None:
        super().__init__(binary, durable=durable)
        account = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}"
        self.admin, self.template = f"{account}/postgres", account + "/{name}"
        user = "postgres" if os.getuid() == 0 else None  # the server refuses to run as root
        if user:
            shutil.chown(self.folder, user)
        data = self.folder / "data"

        def install(folder: Path) -> None:
            command = [binary.parent / "initdb", "-D", folder, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
            command += ["--no-sync"]
            subprocess.run([str(part) for part in command], check=True, capture_output=True, user=user, cwd=self.folder)

        installed("postgresql", data, install)
        fsync = "on" if durable else "off"
        options = ["-p", str(self.port), "-k", self.folder, "-h", "127.0.0.1", "-c", f"fsync={fsync}"]
        self.start([binary, "-D", data, *options], user=user)


def _find(name: str, *patterns: str) -> Path | None:
    places = [shutil.which(name), *sorted(glob.glob(f"/usr/sbin/{name}"))]
    places += [found for pattern in patterns for found in sorted(glob.glob(pattern), reverse=True)]
    return next((Path(place) for place in places if place), None)


def binary_of(kind: str) -> Path | None:
    """The server's binary; None where it is not on the machine."""
    if kind == "mariadb":
        binary = _find("mariadbd")
        return binary if _find("mariadb-install-db") else None
    if kind == "postgresql":
        return _find("postgres", "/usr/lib/postgresql/*/bin/postgres")
    raise ValueError(f"no kind of server: {kind!r}")


def is_installed(kind: str) -> bool:
    """Can databases of this kind be had here?"""
    return kind == "sqlite" or binary_of(kind) is not None


def start(kind: str, *, durable: bool = False) -> Server | None:
    """A running server of this kind; None where its binaries are not on the machine. `durable` syncs each commit."""
    binary = binary_of(kind)
    if binary is None:
        return None
    return (MariaDBServer if kind == "mariadb" else PostgreSQLServer)(binary, durable=durable)
