"""Hundreds of bad rows in a live system: each harms itself alone, says why, and everything else goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import invariants
import pytest
from definition_rows import DEFINITIONS, expected_answer
from flow_rows import flow_rows
from live import (
    Inserted,
    Load,
    complaints,
    define_healthy,
    insert_poison,
    running,
    unfinished,
    wait_until_met,
)
from poison import RUNS, Poison, flow, short_id, suspended, task_row
from sqlalchemy import text
from task_rows import task_rows

from engine.database import Database
from engine.keys import Key
from engine.states import Reason

pytestmark = pytest.mark.slow
CORPUS = [*task_rows(), *flow_rows()]
BOUND_S = 90.0
"""For a busy machine; benchmarks/reliability/poison.py says how long it takes on an idle one."""


def test_the_corpus_is_large_enough_on_each_database() -> None:
    assert len({poison.name for poison in CORPUS}) == len(CORPUS)
    for kind in ("sqlite", "mariadb", "postgresql"):
        inserted = [one for one in CORPUS if kind not in one.refused_by and one.only_on in (None, kind)]
        assert len(inserted) >= 200


def test_poison_harms_itself_alone(db: Database, url: str, kind: str, tmp_path: Path) -> None:
    define_healthy(db)
    with running(url, tmp_path) as (address, serve, watcher), Load(address) as load:
        inserted = insert_poison(db, kind, CORPUS)
        wait_until_met(db, inserted.ends, BOUND_S)
        assert (serve.process.poll(), watcher.process.poll()) == (None, None)
        load.stop()
        assert not load.refused
        assert len(load.flows) > 10
        wait_until_met(db, {Key(flow_id, 3): RUNS for flow_id in load.flows}, BOUND_S)
        assert watcher.terminate() == 0
    assert not unfinished(db, load.flows)
    assert _suspended(db) == _to_be_suspended(inserted)
    assert _unexplained(db) == []
    found = _broken(db, inserted.inside)
    assert not found, "\n".join(f"{name}: {row}" for name, broken in found.items() for row in broken)
    assert [line for line in complaints(watcher.log) if "Traceback" in line or "cannot sweep" in line] == []


@pytest.mark.by_turns
def test_a_thousand_poison_rows_before_everything_else(db: Database, url: str, tmp_path: Path) -> None:
    define_healthy(db)
    unknown = suspended(Reason.UNKNOWN_PROGRAM)
    first = {"task_priority": -20, "program": "NoSuchProgram"}
    corpus = []
    for number in range(1000):
        ready = {"wait_count": 0} if number % 2 else {}
        corpus.append(flow(f"head {number}", [task_row(f"head {number}", 1, **first, **ready)], {1: unknown}))
    with running(url, tmp_path) as (address, _, watcher), Load(address) as load:
        db.transact(lambda conn: [poison.insert(conn) for poison in corpus])
        wait_until_met(db, {Key(*key): end for poison in corpus for key, end in poison.ends.items()}, BOUND_S)
        load.stop()
        wait_until_met(db, {Key(flow_id, 3): RUNS for flow_id in load.flows}, BOUND_S)
        assert watcher.process.poll() is None
    assert not unfinished(db, load.flows)
    invariants.hold(db)


def test_bad_definitions_are_refused_where_they_are_registered(
    db: Database, url: str, kind: str, tmp_path: Path
) -> None:
    import requests

    inserted = insert_poison(db, kind, DEFINITIONS)
    with running(url, tmp_path) as (address, serve, watcher):
        wrong = {}
        for poison in inserted.inside:
            answer = requests.post(f"{address}/register/{short_id(poison.name)}", timeout=30)
            if (answer.status_code, answer.json().get("type")) != expected_answer(poison):
                wrong[poison.name] = answer.status_code, answer.text[:300]
        assert not wrong, "\n".join(f"{name}: {answer}" for name, answer in wrong.items())
        assert (serve.process.poll(), watcher.process.poll()) == (None, None)


def _to_be_suspended(inserted: Inserted) -> set[Key]:
    return {key for key, end in inserted.ends.items() if end.status == 2}


def _suspended(db: Database) -> set[Key]:
    with db.read() as conn:
        rows = conn.execute(text("SELECT task_flow_id, task_exec_seq FROM kr_task_stat WHERE exec_status = 2"))
        return {Key(*row) for row in rows}


def _unexplained(db: Database) -> list[Any]:
    """Rows that the engine suspended without words for a person."""
    by_a_person = f"('{Reason.PAUSED}', 'because')"
    query = f"SELECT task_flow_id FROM kr_task_stat WHERE exec_status = 2 AND reason NOT IN {by_a_person}"
    with db.read() as conn:
        return conn.execute(text(f"{query} AND (error IS NULL OR error = '')")).all()


def _broken(db: Database, inside: Iterable[Poison]) -> dict[str, list[Any]]:
    """The invariants that do not hold, without the rows that were outside of them from the beginning."""
    outside: dict[str, set[str]] = {}
    for poison in inside:
        for name in poison.outside:
            outside.setdefault(name, set()).update(_names(poison))
    found: dict[str, list[Any]] = {}
    for name, rows in invariants.broken(db).items():
        known = outside.get(name.split()[0], set())
        if left := [row for row in rows if known.isdisjoint(map(str, row))]:
            found[name] = left
    return found


def _names(poison: Poison) -> Sequence[str]:
    flows = [str(values["task_flow_id"]) for _, values in poison.rows if "task_flow_id" in values]
    return [*flows, short_id(f"{poison.name}/1")]
