"""Kills and other faults on each database: nothing is lost, nothing is settled twice, every duplicate is explained."""

from __future__ import annotations

import os

import pytest
from databases import Databases

from tests.chaos import families, story
from tests.chaos.options import DATABASES, Options
from tests.chaos.run import run
from tests.chaos.schedule import LASTING, kinds_for, plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("PENSTOCK_CHAOS_KILLS", "100"))
SECONDS = float(os.environ.get("PENSTOCK_CHAOS_SECONDS", max(45, 0.95 * KILLS)))
SEED = int(os.environ.get("PENSTOCK_CHAOS_SEED", "20261121"))


@pytest.mark.parametrize("database", DATABASES)
def test_nothing_is_lost(database: str, databases: Databases) -> None:
    if database != "sqlite":
        databases.server(database)  # skips, or fails, where there is none
    options = Options(db=database, seed=SEED, kills=KILLS, seconds=SECONDS, kills_per_s=1.3)
    history, verdict = run(options)
    print(verdict.line)
    stories = [story.tell(history, item.flow, item.seq) for item in verdict.violations[:2] if item.flow]
    said = [str(item) for item in verdict.violations[:20]]
    assert verdict.clean, "\n".join([verdict.line, *said, *stories, f"again: {options.replay}"])
    assert verdict.facts["kills"] >= KILLS / 3, "too few kills for the time: is the machine busy?"
    assert verdict.facts["tasks"] > 100
    assert families.inside(history.folder) == []


def test_the_same_seed_gives_the_same_schedule() -> None:
    options = Options(db="postgresql", seed=7)
    kinds = kinds_for(options, ("kill-database",))

    def first(seed: int) -> list[object]:
        steps = plan(Options(db="postgresql", seed=seed), kinds)
        return [next(steps) for _ in range(2_000)]

    assert first(7) == first(7)
    assert first(7) != first(8)
    assert {step.kind for step in first(7)} == set(kinds)  # type: ignore[attr-defined]


def test_at_most_two_lasting_faults_overlap() -> None:
    options = Options(db="mariadb", seed=3)
    steps = plan(options, kinds_for(options, ("kill-database",)))
    lasting = [(step.at, step.at + step.span_s) for step in (next(steps) for _ in range(500)) if step.kind in LASTING]
    assert len(lasting) > 50
    for at, _ in lasting:
        assert sum(begin <= at < end for begin, end in lasting) <= 2
