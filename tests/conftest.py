"""The databases that every conformance test runs on: SQLite always, the servers where their binaries are."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests' own helpers: servers, factories

import servers
import turns
from databases import KINDS, Databases
from factories import check_again

from engine.database import Database
from engine.tables import metadata


def pytest_configure(config: pytest.Config) -> None:
    """Keep what tests write in memory, where there is room: each of thousands would wait for the disk."""
    memory = servers.in_memory()
    if memory is not None and config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = str(memory / f"penstock-pytest-{os.getpid()}")
        os.environ.setdefault(servers.INSTALLED, f"{config.option.basetemp}/installed")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long begins first: at the end no process should be left alone with it."""
    if os.environ.get("PENSTOCK_TEST_BY_TURNS"):
        left_out = turns.not_their_turn(items)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: looking through it for garbage would take a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What programs log may hold half a character, on which a report that goes from process to process would choke."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What took too long at first, in full, although it came to pass the second time."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"took too long at first: {report.nodeid}", sep="-")
        terminalreporter.line(report.longreprtext)


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
    with databases.opened(kind).transaction() as conn:
        for table in reversed(metadata.sorted_tables):
            conn.execute(table.delete())
    check_again(databases.opened(kind))
    return address


@pytest.fixture
def db(url: str, kind: str, databases: Databases, request: pytest.FixtureRequest) -> Database:
    """An open, migrated, empty database, once for each kind; `needs` marks leave out those that lack an ability.

    It stays open from test to test, as connecting and compiling statements takes longer than most tests.
    """
    opened = databases.opened(kind)
    opened.can = replace(databases.can[kind])
    for mark in request.node.iter_markers("needs"):
        lacking = [ability for ability in mark.args if not getattr(opened.can, ability)]
        if lacking:
            pytest.skip(f"this database has no {', '.join(lacking)}")
    return opened


@pytest.fixture
def empty_url(kind: str, databases: Databases) -> str:
    return databases.empty(kind)
