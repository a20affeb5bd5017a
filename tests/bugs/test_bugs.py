"""Each seeded mistake is seen by the test that is named for it (docs/reliability.md has the table)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import servers
from seeded import BUGS, Bug

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("engine", "programs", "register", "watcher", "penstock", "sql", "tests", "pyproject.toml")
ENDINGS = ("| sqlite |", "| mariadb |", "| postgresql |")
WITHOUT = [part for plugin in ("cacheprovider", "hypothesispytest", "xdist") for part in ("-p", f"no:{plugin}")]
"""Plugins that one test has no need of, and that take longer to load than it to run."""
TESTS_FAILED = 1
"""The exit code of pytest when tests ran and some failed; sources that cannot be imported give another one."""


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_seeded_bug_is_caught(bug: Bug, tmp_path: Path) -> None:
    if not servers.is_installed(bug.database):
        pytest.skip(f"no {bug.database} server on this machine")
    copy_sources(tmp_path)
    seed(bug, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-x", *WITHOUT, bug.test, "-k", bug.database]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PENSTOCK_TEST_BY_TURNS": ""}  # the named one, here
    for _ in range(bug.tries):
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110)
        if ran.returncode:
            break
    assert ran.returncode == TESTS_FAILED, f"nobody saw {bug.name!r}:\n{ran.stdout[-3000:]}{ran.stderr[-1000:]}"


def test_there_are_twenty() -> None:
    assert len({bug.name for bug in BUGS}) == 20


def test_the_table_of_the_document_is_this_list() -> None:
    table = [line for line in (ROOT / "docs" / "reliability.md").read_text().splitlines() if "`" in line]
    listed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table if line.endswith((*ENDINGS,))]
    assert listed == [[bug.name, f"`{bug.test.removeprefix('tests/')}`", bug.database] for bug in BUGS]


def copy_sources(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)  # compiled modules too: their sources keep their times
        else:
            shutil.copy(source, folder / name)


def seed(bug: Bug, folder: Path) -> None:
    for edit in bug.edits:
        file = folder / edit.file
        text = file.read_text()
        assert text.count(edit.old) == 1, f"{edit.file} has changed: seed {bug.name!r} anew"
        file.write_text(text.replace(edit.old, edit.new))
