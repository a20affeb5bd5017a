"""The pytest plugin: fixtures for tests of workflows. Imports nothing of Penstock before a test asks for one."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from engine.database import Database
    from penstock.testing.lab import Lab


@pytest.fixture(scope="session")
def penstock_template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A SQLite file with Penstock's tables and nothing in them, made once and copied for each test."""
    from penstock.testing.files import make_template

    if not request.config.pluginmanager.has_plugin(_Tables.name):
        request.config.pluginmanager.register(_Tables(), _Tables.name)
    return make_template(tmp_path_factory.mktemp("penstock"))


@pytest.fixture
def penstock_db(penstock_template: Path, tmp_path: Path) -> Iterator[Database]:
    """An open, empty database of the test's own: a SQLite file with Penstock's tables."""
    from penstock.testing.files import copied

    with copied(penstock_template, tmp_path) as db:
        yield db


@pytest.fixture
def lab(penstock_template: Path, tmp_path: Path) -> Iterator[Lab]:
    """A lab of the test's own (`penstock.testing.Lab`): define workflows, run them, step time, look at their rows."""
    from penstock.testing.lab import open_lab

    with open_lab(tmp_path, template=penstock_template) as opened:
        yield opened


class _Tables:
    """Shows the tasks of the lab below a test that failed. Registered with the first lab."""

    name = "penstock-tables"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
        report = yield
        opened: Any = getattr(item, "funcargs", {}).get("lab")
        if report.failed and call.when == "call" and hasattr(opened, "tables"):
            report.sections.append(("Penstock: flows of the lab", opened.tables()))
        return report
