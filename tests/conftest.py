"""The databases that every conformance test runs on: SQLite always, the servers where their binaries are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests' own helpers: servers, factories

from databases import KINDS, Databases

from engine.database import Database, open_database
from engine.tables import metadata


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
