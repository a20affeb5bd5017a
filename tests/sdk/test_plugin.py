"""The pytest plugin in runs of its own: what it brings, what it shows, and what it costs who does not use it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pytest_runs import ROOT, run


def test_a_failed_test_shows_the_tasks(tmp_path: Path) -> None:
    text = """
from penstock import Fail

def test_printing(lab):
    @lab.program
    def broken():
        return Fail("out of paper")
    lab.define("print", broken, "Noop")
    flow = lab.run("print")
    assert flow.finished

def test_without_a_flow(lab):
    assert lab.flows

def test_without_a_lab():
    assert False
"""
    told = run(tmp_path, text=text).stdout
    assert "3 failed" in told
    assert "- Penstock: flows of the lab -" in told
    assert "1    broken  SUSPEND  1    out of paper" in told
    assert "why: 1 broken: it needs a person (failed): out of paper" in told
    assert told.count("Penstock: flows of the lab") == 2
    assert "no flow has been registered" in told


def test_a_database_for_each_test(tmp_path: Path) -> None:
    text = """
import pytest
from sqlalchemy import select, func
from engine.tables import flow_stat
from penstock import Client

@pytest.mark.parametrize("number", [1, 2])
def test_mine(penstock_db, number):
    with penstock_db.read() as conn:
        assert conn.scalar(select(func.count()).select_from(flow_stat)) == 0
    with Client.of_database(penstock_db.address) as client:
        assert list(client.flows()) == []

def test_both(penstock_db, lab):
    assert penstock_db.url.database != lab.db.url.database
"""
    ended = run(tmp_path, text=text)
    assert "3 passed" in ended.stdout, ended.stdout


def test_the_plugin_imports_nothing_before_it_is_used(tmp_path: Path) -> None:
    text = """
import sys

def test_what_is_loaded():
    heavy = {"sqlalchemy", "starlette", "pydantic", "requests", "engine", "programs", "watcher", "register", "pluggy_"}
    assert heavy & {name.partition(".")[0] for name in sys.modules} == set()
    assert [name for name in sys.modules if name.startswith("penstock")] == ["penstock", "penstock.pytest_plugin"]

def test_no_hook_is_there(request):
    assert not request.config.pluginmanager.has_plugin("penstock-tables")
"""
    ended = run(tmp_path, text=text)
    assert "2 passed" in ended.stdout, ended.stdout


def test_the_fixtures_are_documented(tmp_path: Path) -> None:
    told = run(tmp_path, "--fixtures").stdout
    for name in ("lab", "penstock_db", "penstock_template"):
        assert f"\n{name}" in told
    assert "no docstring available" not in told


def test_the_plugin_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"penstock": "penstock.pytest_plugin"}


def test_the_example_runs_as_a_user_would_run_it(tmp_path: Path) -> None:
    ended = run(tmp_path, text=(ROOT / "examples/test_invoices.py").read_text())
    assert "5 passed" in ended.stdout, ended.stdout


@pytest.mark.parametrize("line", ["import penstock", "import penstock.pytest_plugin"])
def test_importing_costs_no_database_and_no_server(line: str) -> None:
    script = f"import sys; {line}; print(sorted({{name.partition('.')[0] for name in sys.modules}}))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    for name in ("sqlalchemy", "starlette", "uvicorn", "requests", "pydantic", "httpx2"):
        assert f"'{name}'" not in told


def test_every_exported_name_is_there() -> None:
    import penstock

    assert [name for name in penstock.__all__ if not hasattr(penstock, name)] == []
    assert set(penstock.__all__) <= set(dir(penstock))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = penstock.Nothing
