"""The databases of a test run: each made once, when a test first asks for it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import servers

from engine import migrate
from engine.database import Database, open_database
from engine.dialects import Abilities

KINDS = ("sqlite", "mariadb", "postgresql")
INSTALL = {"mariadb": "apt-get install mariadb-server", "postgresql": "apt-get install postgresql"}


class Databases:
    """One migrated database of each kind for the whole run; `url(kind)` starts what is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: dict[str, servers.Server | None] = {}
        self.urls: dict[str, str] = {}
        self.open: dict[str, Database] = {}
        self.can: dict[str, Abilities] = {}
        """What each kind can do, asked once."""
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

    def opened(self, kind: str) -> Database:
        """The migrated database of this kind, opened once."""
        if kind not in self.open:
            db = self.open[kind] = open_database(self.migrated(kind), role="test")
            self.can[kind] = replace(db.probe())
        return self.open[kind]

    def stop(self) -> None:
        for db in self.open.values():
            db.close()
        for server in self.servers.values():
            if server is not None:
                server.stop()
