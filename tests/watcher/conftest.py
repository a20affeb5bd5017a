"""Watchers that end with their test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # battery, child, freezing, waiting, watching

from patience import until
from watching import Watch, Watching

from engine.database import Database


@pytest.fixture
def watch(url: str) -> Iterator[Watch]:
    """`watch(program, program, interval_s=...)` starts a watcher; several may run at once."""
    with ExitStack() as stack:

        def start(*programs: object, url: str = url, **settings: Any) -> Watching:
            watching = Watching(url, programs, settings)
            stack.callback(watching.close)
            return watching

        yield start


@pytest.fixture
def started(watch: Watch, db: Database) -> Watch:
    """As `watch`, but returns when the watcher has enlisted and looked around."""

    def start(*programs: object, **settings: Any) -> Watching:
        watching = watch(*programs, **settings)
        until(lambda: watching.watcher._lookout.idle_looks >= 2 or not watching.lives)
        return watching

    return start
