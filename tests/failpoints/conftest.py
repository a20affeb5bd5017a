"""Processes that die where a test wants them to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from forked import Forked
from witnessing import Acted, Begin, Witness


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    folder = tmp_path / "plugin"
    folder.mkdir()
    return Witness(folder)


SHORT: dict[str, Any] = {"--lease": 4, "--heartbeat": 0.8, "--interval": 0.1, "--workers": 2, "--grace": 5}


@pytest.fixture
def begin(url: str, tmp_path: Path, witness: Witness) -> Iterator[Begin]:
    """`begin("watch", "settle.before=kill")`: a process on the test's database that ends with the test."""
    with ExitStack() as stack:
        count = 0

        def start(command: str, spec: str = "", *more: object, db: str = url, **env: str) -> Forked:
            nonlocal count
            count += 1
            options = [part for pair in SHORT.items() for part in pair] if command == "watch" else []
            env |= {"PENSTOCK_FAILPOINTS": spec, "PENSTOCK_FAILPOINTS_LOG": str(tmp_path / "failpoints.log")}
            env |= {"WITNESS_LOG": str(witness.log)}
            log = tmp_path / f"process{count}.log"
            words = command.split(), "--db", db, *options, *more
            return stack.enter_context(Forked(log, *words[0], *words[1:], path=witness.folder, **env))

        yield start


@pytest.fixture
def acted(tmp_path: Path) -> Acted:
    """What the failpoints' log says: (point, pid, action), in order."""

    def read() -> list[tuple[str, int, str]]:
        log = tmp_path / "failpoints.log"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [(name, int(pid), action) for name, pid, action, _wall, _monotonic in lines]

    return read
