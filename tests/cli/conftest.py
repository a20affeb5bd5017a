"""The command line in this process, where nobody's settings reach it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from engine.database import Database, open_database
from penstock.cli import cli
from register.app import create_app
from register.server import Background
from register.settings import Settings

Penstock = Callable[..., Result]


@pytest.fixture
def sqlite_db(sqlite_url: str) -> Iterator[Database]:
    """The file of `sqlite_url`, opened: for what a command is to find there."""
    opened = open_database(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test in an empty folder, without Penstock's variables, and with the logging that it found."""
    for name in list(os.environ):
        if name.startswith(("PENSTOCK_", "DB_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield tmp_path
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def penstock() -> Penstock:
    """`penstock("ps", "--db", url)` runs the command and returns its result."""

    def call(*arguments: object, **env: str) -> Result:
        result = CliRunner().invoke(cli, list(map(str, arguments)), env=env, prog_name="penstock")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def sqlite_url(tmp_path: Path, penstock: Any) -> str:
    """A SQLite database with the tables and without samples."""
    url = f"sqlite:///{tmp_path}/made.db"
    assert penstock("db", "init", "--no-samples", "--db", url).exit_code == 0
    return url


@pytest.fixture
def service(db: Database) -> Iterator[str]:
    settings = Settings(port=0)
    with Background(create_app(db, settings), settings) as server:
        yield server.url


@pytest.fixture(params=["db", "url"])
def door(request: pytest.FixtureRequest, url: str) -> list[str]:
    """The flags that lead to the database: itself, or a service."""
    return ["--db", url] if request.param == "db" else ["--url", request.getfixturevalue("service")]
