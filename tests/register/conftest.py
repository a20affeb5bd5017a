"""An application over the test's database, with its thread running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from engine.database import Database, open_database
from engine.definition.reading import Check
from register.app import create_app
from register.settings import Settings

Serve = Callable[..., TestClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start an application: `serve(db, on_registered=..., max_queued=...)`; several may run at once."""
    with ExitStack() as stack:

        def start(
            db: Database,
            *,
            on_registered: Callable[[], None] | None = None,
            check: Check | None = None,
            **settings: Any,
        ) -> TestClient:
            app = create_app(db, Settings(**settings), on_registered=on_registered, check=check)
            return stack.enter_context(TestClient(app))

        yield start


@pytest.fixture
def client(db: Database, serve: Serve) -> TestClient:
    return serve(db, echo=True)


@pytest.fixture
def other_db(url: str) -> Iterator[Database]:
    """The same database, opened a second time: another process would see it so."""
    opened = open_database(url)
    yield opened
    opened.close()


@pytest.fixture
def dead(tmp_path: Any) -> Iterator[Database]:
    """A database that nobody can reach: its file is a folder."""
    opened = open_database(f"sqlite:///{tmp_path}")
    yield opened
    opened.close()
