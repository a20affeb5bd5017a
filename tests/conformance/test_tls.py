"""TLS to the database: asked for, with a server that shows who it is, wherever the connection leaves the machine."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import certify, outer_address
from databases import Databases
from proxy import Proxy
from sqlalchemy import create_engine, make_url

from engine.database import Database, open_database
from engine.dialects import dialect_of
from engine.dialects.timeouts import USUAL
from engine.errors import BadDatabaseURL, FatalDatabaseError

FULL = {"sslmode": "verify-full", "sslrootcert": "system"}


def told(url: str) -> dict[str, Any]:
    """What the driver is told of TLS besides the URL."""
    parsed = make_url(url)
    found = dialect_of(parsed).engine_options(parsed, "test", USUAL)["connect_args"]
    return {name: value for name, value in found.items() if name.startswith("ssl")}


@pytest.fixture(autouse=True)
def without_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "rest, tls",
    [
        ("u@127.0.0.1/x", {}),
        ("u@127.8.9.1:5433/x", {}),
        ("u@[::1]/x", {}),
        ("u@LOCALHOST/x", {}),
        ("/x", {}),
        ("/x?host=/var/run/postgresql", {}),
        ("u@db.example/x?hostaddr=127.0.0.1", {}),
        ("u@db.example/x?sslmode=disable", {}),
        ("u@db.example/x?sslmode=verify-ca&sslrootcert=/ca.pem", {}),
        ("u@db.example/x", FULL),
        ("u@10.0.0.1/x", FULL),
        ("u@0.0.0.0/x", FULL),
        ("u@localhost.evil.example/x", FULL),
        ("u@127.0.0.1.evil.example/x", FULL),
        ("u@localhost/x?hostaddr=10.0.0.1", FULL),
        ("/x?host=localhost:5432&host=db.example:5433", FULL),
        ("/x?service=production", FULL),
        ("u@db.example/x?sslrootcert=/ca.pem", {"sslmode": "verify-full"}),
    ],
)
def test_what_postgresql_is_told(rest: str, tls: dict[str, str]) -> None:
    assert told(f"postgresql://{rest}") == tls


def test_variables_of_libpq_say_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    assert told("postgresql:///x") == FULL
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    assert told("postgresql:///x") == {}
    monkeypatch.delenv("PGHOSTADDR")
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert told("postgresql:///x") == FULL, "the URL alone gives it up"
    monkeypatch.setenv("PGSSLROOTCERT", "/ca.pem")
    assert told("postgresql:///x") == {"sslmode": "verify-full"}


@pytest.mark.parametrize(
    "rest, mode, is_name_checked",
    [
        ("localhost/x", None, False),
        ("127.0.0.1/x", None, False),
        ("/x?unix_socket=/run/mysqld/mysqld.sock", None, False),
        ("db.example/x?ssl_disabled=true", None, False),
        ("db.example/x", ssl.CERT_REQUIRED, True),
        ("10.0.0.1/x?ssl_disabled=false", ssl.CERT_REQUIRED, True),
        ("/x?read_default_file=/etc/my.cnf", ssl.CERT_REQUIRED, True),
        ("db.example/x?ssl_verify_identity=false", ssl.CERT_REQUIRED, True),
        ("db.example/x?ssl_check_hostname=false", ssl.CERT_REQUIRED, False),
        ("localhost/x?ssl_verify_cert=false", ssl.CERT_NONE, False),
        ("localhost/x?ssl_verify_cert=true", ssl.CERT_REQUIRED, True),
    ],
)
def test_what_mysql_is_told(rest: str, mode: ssl.VerifyMode | None, is_name_checked: bool) -> None:
    found = told(f"mysql://{rest}")
    context = found.get("ssl")
    assert (context.verify_mode if context else None) is mode
    assert bool(context and context.check_hostname) is is_name_checked
    assert not (context and found["ssl_disabled"])


@pytest.mark.parametrize("query", ["ssl_disabled=perhaps", "ssl_ca=/nowhere.pem", "ssl_cert=/nowhere.pem"])
def test_what_is_no_good_in_a_url_is_named(query: str) -> None:
    with pytest.raises(BadDatabaseURL, match=query.replace("?", "")):
        open_database(f"mysql://db.example/x?{query}")


@contextmanager
def opened(url: str) -> Iterator[Database]:
    db = open_database(url, connections=1)
    try:
        yield db
    finally:
        db.close()


def ask(url: str) -> Any:
    with opened(url) as db:
        return db.transact(lambda conn: conn.exec_driver_sql("SELECT 1").scalar())


@pytest.mark.parametrize(("kind", "without"), [("mariadb", "ssl_disabled=true"), ("postgresql", "sslmode=disable")])
def test_a_server_without_tls_is_refused_at_once_with_the_way_out(
    databases: Databases, kind: str, without: str
) -> None:
    with Proxy(databases.migrated(kind), at=outer_address()) as near:
        began = time.monotonic()
        with pytest.raises(FatalDatabaseError, match=rf"(?i)SSL.*\(\?{without}\)$"):
            ask(near.url)
        assert time.monotonic() - began < 5, "it is not tried again and again"
        assert ask(f"{near.url}?{without}") == 1


def test_postgresql_by_tls(databases: Databases, tmp_path: Path) -> None:
    address, server = outer_address(), databases.server("postgresql")
    certificate, key = certify(server.folder, address)
    shutil.chown(key, server.folder.owner())
    with Proxy(databases.migrated("postgresql"), at=address) as near, tls_on(server.admin, certificate, key):
        with pytest.raises(FatalDatabaseError, match=r"certificate.*sslrootcert=FILE"):
            ask(near.url)
        trusted = f"{near.url}?sslrootcert={certificate}"
        assert ask(trusted) == 1
        with opened(trusted) as db, db.read() as conn:
            query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert conn.exec_driver_sql(query).scalar() is True
        hints = dialect_of(make_url(trusted)).listen(make_url(trusted), lambda: True)
        assert next(hints) is False, "it listens over TLS as well"
        with pytest.raises(Exception, match="certificate"):
            next(dialect_of(make_url(near.url)).listen(make_url(near.url), lambda: True))
        other, _ = certify(tmp_path, "192.0.2.99")
        with pytest.raises(FatalDatabaseError, match="certificate"):
            ask(f"{near.url}?sslrootcert={other}")


@contextmanager
def tls_on(admin: str, certificate: Path, key: Path) -> Iterator[None]:
    """PostgreSQL changes it while it runs."""
    engine = create_engine(admin, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as conn:
            for name, value in (("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl", "on")):
                conn.exec_driver_sql(f"ALTER SYSTEM SET {name} = '{value}'")
            conn.exec_driver_sql("SELECT pg_reload_conf()")
            await_setting(conn, "on")
            try:
                yield
            finally:
                conn.exec_driver_sql("ALTER SYSTEM RESET ssl")
                conn.exec_driver_sql("SELECT pg_reload_conf()")
                await_setting(conn, "off")
    finally:
        engine.dispose()


def await_setting(conn: Any, value: str) -> None:
    deadline = time.monotonic() + 10
    while conn.exec_driver_sql("SHOW ssl").scalar() != value:
        assert time.monotonic() < deadline
        time.sleep(0.01)


class OneLogIn:
    """What a MariaDB server says until somebody logs in, and nothing after: over TLS, and then it refuses them."""

    GREETING = b"\x0a10.11.0-MariaDB\0" + b"\1\0\0\0" + b"12345678\0" + b"\xff\xff\x2d\2\0\xff\xff\x15" + bytes(10)
    REFUSAL = b"\xff\x15\x04#28000Access denied"

    def __init__(self, address: str, certificate: Path, key: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        self.log_ins: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                rest = self.GREETING + b"123456789012\0mysql_native_password\0"
                client.sendall(len(rest).to_bytes(3, "little") + b"\0" + rest)
                asked = client.recv(36)
                assert len(asked) == 36, "it asks for TLS before it says who it is"
                try:
                    with self._context.wrap_socket(client, server_side=True) as inside:
                        if said := inside.recv(10_000):
                            self.log_ins.append(said)
                            inside.sendall(len(self.REFUSAL).to_bytes(3, "little") + b"\3" + self.REFUSAL)
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def test_mysql_shows_a_password_to_no_server_but_the_right_one(tmp_path: Path) -> None:
    address = outer_address()
    (tmp_path / "other").mkdir()
    certificate, key = certify(tmp_path, address)
    other, _ = certify(tmp_path / "other", address)
    server = OneLogIn(address, certificate, key)
    url = f"mysql://ann:secret@{address}:{server.port}/x"
    try:
        for query in ("", f"?ssl_ca={other}"):
            with pytest.raises(FatalDatabaseError, match=r"(?i)certificate.*ssl_ca=FILE"):
                ask(url + query)
        assert server.log_ins == []
        with pytest.raises(FatalDatabaseError, match="Access denied"):
            ask(f"{url}?ssl_ca={certificate}")
        [said] = server.log_ins
        assert b"ann" in said
    finally:
        server.close()
