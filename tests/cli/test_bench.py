"""`penstock bench`: small sizes, on each database; the figures are not judged."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from factories import define, rows, start

from engine.database import Database
from engine.tables import flow_stat, limit, task_definition
from penstock.bench import shapes
from penstock.bench.limit import Limit
from penstock.bench.running import usual_watchers
from penstock.bench.workloads import WORKLOADS

SIZES = {"diamond10": 30, "chain": 2, "fan-out": 40, "queue": 50}
REGISTERING = ["clients-1", "clients-50", "bulk"]
CROWDED = {"depth": "finished_before", "backlog": "ready_before"}
COMPARED = {
    "limits": {"ratio_to_unlimited", "ratio_with_8_places"},
    "watchers": {"tasks_per_s_by_1", "tasks_per_s_by_2", "tasks_per_s_by_4"},
}
TASKS = {"diamond10": 300, "chain": 80, "fan-out": 42, "queue": 50}


def measured(penstock: Any, name: str, *options: object) -> Any:
    """What `penstock bench` says of one workload."""
    result = penstock("bench", name, *options, "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    return found


def test_every_workload_is_tested() -> None:
    assert {*SIZES, *REGISTERING, *CROWDED, *COMPARED, "latency", "post", "lists"} == set(WORKLOADS)


@pytest.mark.by_turns
@pytest.mark.parametrize("name", SIZES)
def test_a_workload_is_measured_beside_its_limit(penstock: Any, db: Database, url: str, name: str, kind: str) -> None:
    found = measured(penstock, name, "--db", url, "--size", SIZES[name], "--runs", 2, "--watchers", 2)
    assert (found["workload"], found["db"], found["tasks"]) == (name, kind, TASKS[name])
    assert (found["runs"], found["watchers"]) == (2, 2)
    assert found["tasks_per_s"] == pytest.approx(found["tasks"] / found["wall_s"])
    assert found["ratio_to_limit"] == pytest.approx(found["tasks_per_s"] / found["limit_tasks_per_s"])
    assert found["limit_tasks_per_s"] > 0
    assert rows(db, flow_stat) == [], "the next measurement begins with nothing"


def test_as_many_watchers_as_cores_but_one_where_writers_take_turns(db: Database, monkeypatch: Any) -> None:
    for cores, expected in ((1, 1), (2, 2), (64, 4), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert usual_watchers(db) == (expected if db.can.many_writers else 1)


@pytest.mark.by_turns
@pytest.mark.parametrize("name", ["latency", "post"])
def test_latencies(penstock: Any, db: Database, url: str, name: str) -> None:
    found = measured(penstock, name, "--db", url, "--size", 10)
    assert (found["workload"], found["tasks"]) == (name, 10)
    assert 0 < found["facts"]["p50_ms"] <= found["facts"]["p99_ms"] < 10_000
    assert rows(db, flow_stat) == []


@pytest.mark.by_turns
@pytest.mark.parametrize("name", REGISTERING)
def test_registrations(penstock: Any, db: Database, url: str, name: str) -> None:
    found = measured(penstock, name, "--db", url, "--size", 60, "--runs", 1)
    assert (found["workload"], found["tasks"]) == (name, 600 if name == "bulk" else 60)
    assert found["tasks_per_s"] == pytest.approx(found["tasks"] / found["wall_s"])
    assert found["limit_tasks_per_s"] is found["ratio_to_limit"] is None
    assert rows(db, flow_stat) == []


@pytest.mark.by_turns
@pytest.mark.parametrize("name", CROWDED)
def test_beside_many_other_rows(penstock: Any, db: Database, url: str, name: str) -> None:
    found = measured(penstock, name, "--db", url, "--size", 100, "--runs", 1)
    assert found["workload"] == name
    assert found["facts"][CROWDED[name]] >= 100
    assert found["tasks"] >= 100
    if name == "depth":
        assert found["facts"]["ratio_to_empty"] > 0
    else:
        assert found["facts"]["rss_mib"] > 10
    assert rows(db, flow_stat) == []


@pytest.mark.by_turns
def test_lists(penstock: Any, db: Database, url: str) -> None:
    found = measured(penstock, "lists", "--db", url, "--size", 100, "--runs", 1)
    facts = found["facts"]
    assert (found["workload"], found["tasks"], facts.pop("flows")) == ("lists", 15, 100)
    assert found["wall_s"] * 1_000 == pytest.approx(sum(facts.values()), abs=1)
    assert rows(db, flow_stat) == [], "the next measurement begins with nothing"


@pytest.mark.by_turns
@pytest.mark.parametrize("name", COMPARED)
def test_under_several_conditions(penstock: Any, db: Database, url: str, name: str) -> None:
    found = measured(penstock, name, "--db", url, "--size", 20, "--runs", 1)
    assert (found["workload"], found["tasks"]) == (name, 20 if name == "limits" else 200)
    assert found["facts"].keys() == COMPARED[name]
    assert all(figure > 0 for figure in found["facts"].values())
    assert rows(db, flow_stat) == rows(db, limit) == [], "the next measurement begins with nothing"


def test_a_chart_of_several_databases(penstock: Any, tmp_path: Path) -> None:
    picture = tmp_path / "speed.svg"
    given = [flag for name in ("one", "two") for flag in ("--db", f"sqlite:///{tmp_path}/{name}.db")]
    result = penstock("bench", "queue", *given, "--size", 3, "--runs", 1, "--chart", picture, "--json")
    assert result.exit_code == 0, result.output
    assert [item["workload"] for item in json.loads(result.stdout)] == ["queue", "queue"]
    assert "<svg" in picture.read_text()


@pytest.mark.parametrize("name, words", [("speed.txt", "not in .txt"), ("missing/speed.svg", "no folder")])
def test_a_chart_that_cannot_be_is_refused_before_anything_is_measured(
    penstock: Any, tmp_path: Path, name: str, words: str
) -> None:
    result = penstock("bench", "queue", "--size", 3, "--chart", tmp_path / name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr


def test_a_chart_without_matplotlib_names_the_extra(
    penstock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = penstock("bench", "queue", "--size", 3, "--chart", tmp_path / "speed.svg")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "pip install 'penstock[bench]'" in result.stderr


def test_it_makes_a_file_of_its_own_and_prints_a_table(penstock: Any) -> None:
    result = penstock("bench", "queue", "--size", 20, "--runs", 1)
    assert result.exit_code == 0, result.output
    head, line = result.stdout.splitlines()
    assert head.split() == ["workload", "database", "tasks", "watchers", "seconds", "tasks/s", "bare", "limit", "ratio"]
    assert line.split()[:4] == ["queue", "sqlite", "20", "1"]


def test_a_database_in_use_is_left_alone(penstock: Any, db: Database, url: str) -> None:
    define(db)
    result = penstock("bench", "queue", "--db", url)
    assert result.exit_code == 4
    assert "has workflows" in result.stderr
    assert "--db" in result.stderr
    start(db)
    assert "has flows" in penstock("bench", "queue", "--db", url).stderr
    assert (len(rows(db, flow_stat)), len(rows(db, task_definition))) == (1, 1)


def test_an_unknown_workload_is_named(penstock: Any) -> None:
    result = penstock("bench", "nonsense")
    assert result.exit_code == 2
    assert "diamond10" in result.stderr


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_bare_table_gets_through_every_shape(db: Database, batch: int) -> None:
    for shape, flows in ((shapes.DIAMOND10, 20), (shapes.CHAIN, 2), (shapes.fan_out(30), 2), (shapes.QUEUE, 25)):
        assert Limit(db, shape.steps, shape.edges).measure(flows, batch) > 0
