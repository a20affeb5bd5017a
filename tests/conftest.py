"""The databases that every conformance test runs on: SQLite always, the servers where their binaries are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests' own helpers: servers, factories

import servers

from engine import migrate
from engine.database import Database, open_database
from engine.tables import metadata

KINDS = ("sqlite", "mariadb", "postgresql")
INSTALL = {"mariadb": "apt-get install mariadb-server", "postgresql": "apt-get install postgresql"}


class Databases:
    """One migrated database of each kind for the whole run; `url(kind)` starts what is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: dict[str, servers.Server | None] = {}
        self.urls: dict[str, str] = {}
        self.made = 0

    def server(self, kind: str) -> servers.Server:
        if kind not in self.servers:
            self.servers[kind] = servers.start(kind)
        server = self.servers[kind]
        if server is None:
            words = f"no {kind} server on this machine ({INSTALL[kind]})"
            if os.environ.get("PENSTOCK_TEST_ALL"):
                pytest.fail(words)
            pytest.skip(words)
        return server

    def empty(self, kind: str) -> str:
        """The URL of a new database without any table."""
        self.made += 1
        if kind == "sqlite":
            return f"sqlite:///{self.folder}/empty{self.made}.db"
        return self.server(kind).create(f"empty{self.made}")

    def migrated(self, kind: str) -> str:
        if kind not in self.urls:
            url = self.empty(kind)
            db = open_database(url)
            migrate.init(db, samples=False)
            db.close()
            self.urls[kind] = url
        return self.urls[kind]

    def stop(self) -> None:
        for server in self.servers.values():
            if server is not None:
                server.stop()


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    all_of_them = Databases(tmp_path_factory.mktemp("databases"))
    yield all_of_them
    all_of_them.stop()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, databases: Databases) -> str:
    """The URL of a migrated, empty database."""
    address = databases.migrated(kind)
    db = open_database(address)
    with db.transaction() as conn:
        for table in reversed(metadata.sorted_tables):
            conn.execute(table.delete())
    db.close()
    return address


@pytest.fixture
def db(url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """An open, migrated, empty database, once for each kind; `needs` marks leave out those that lack an ability."""
    opened = open_database(url, role="test")
    opened.probe()
    for mark in request.node.iter_markers("needs"):
        lacking = [ability for ability in mark.args if not getattr(opened.can, ability)]
        if lacking:
            pytest.skip(f"this database has no {', '.join(lacking)}")
    yield opened
    opened.close()


@pytest.fixture
def empty_url(kind: str, databases: Databases) -> str:
    return databases.empty(kind)
