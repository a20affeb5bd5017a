"""A small clean run to damage, and runs with faults: both need more time than other tests."""

from __future__ import annotations

import copy

import pytest

from tests.chaos.history import History
from tests.chaos.options import Options
from tests.chaos.run import run
from tests.chaos.verdict import Verdict
from tests.once import once


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[History, Verdict]:
    """A few seconds on SQLite with two kills, and nothing else."""
    options = Options(seed=36, kills=2, seconds=12, faults=("kill-watcher", "poison"), kills_per_s=0.4)
    return once(tmp_path_factory, "small-run", lambda: run(options))


@pytest.fixture
def history(small_run: tuple[History, Verdict]) -> History:
    """The history of the small run, to be damaged by one test."""
    found, verdict = small_run
    assert verdict.clean, [str(violation) for violation in verdict.violations]
    damaged = copy.deepcopy(found)
    for name in [name for name in vars(damaged) if isinstance(getattr(History, name, None), _cached)]:
        del vars(damaged)[name]  # worked out before the damage
    return damaged


_cached = type(History.flows)
