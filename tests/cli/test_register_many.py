"""`penstock register --count` and `--from`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from factories import define, rows

from engine.database import Database
from engine.tables import flow_stat


def test_so_many_alike(penstock: Any, db: Database, url: str) -> None:
    define(db, "w", 2)
    result = penstock("register", "w", "--db", url, "--count", 450, "--priority", 3, "-p", "DAY=1", "--run-key", "r")
    assert result.exit_code == 0, result.output
    found = rows(db, flow_stat)
    assert sorted(result.stdout.split()) == sorted(row.task_flow_id for row in found)
    assert len(found) == 450
    assert {(row.flow_priority, row.parameters, row.run_key) for row in found} == {(3, '{"DAY":"1"}', "r")}
    assert result.stderr.startswith("450 registered in ")


def test_a_flow_for_each_line(penstock: Any, db: Database, url: str, tmp_path: Path) -> None:
    define(db, "w", 1)
    file = tmp_path / "days.ndjson"
    file.write_text('{"runKey": "a"}\n\n{"runKey": "b", "parameters": {"n": 1}}\n{"priority": 40}\n')
    result = penstock("register", "w", "--db", url, "--from", file, "--json")
    assert result.exit_code == 4
    told = json.loads(result.stdout)
    assert (told["registered"], told["refused"]) == (2, 1)
    assert [problem["index"] for problem in told["problems"]] == [2]
    assert {row.run_key for row in rows(db, flow_stat)} == {"a", "b"}
    plain = penstock("register", "w", "--db", url, "--from", file)
    assert plain.exit_code == 4
    assert "number 3: " in plain.stderr
    assert "2 registered in" in plain.stderr
    assert ", 1 refused" in plain.stderr


def test_again_with_the_key_makes_what_is_missing(penstock: Any, db: Database, url: str) -> None:
    define(db, "w", 1)
    first = penstock("register", "w", "--db", url, "--count", 3, "--key", "k").stdout.split()
    again = penstock("register", "w", "--db", url, "--count", 5, "--key", "k").stdout.split()
    assert again[:3] == first
    assert len(rows(db, flow_stat)) == 5


def test_where_none_is_made_it_ends_as_one_would(penstock: Any, sqlite_url: str) -> None:
    result = penstock("register", "nobody", "--db", sqlite_url, "--count", 3)
    assert result.exit_code == 3
    assert result.stderr.startswith("penstock: workflow 'nobody' has no rows")


@pytest.mark.parametrize(
    "options",
    [
        ("--count", 2, "--wait"),
        ("--count", 0),
        ("--from", "absent.ndjson"),
        ("--from", "-", "--count", 2),
        ("--from", "-", "--priority", 2),
    ],
)
def test_options_that_do_not_go_together(penstock: Any, sqlite_url: str, options: tuple[Any, ...]) -> None:
    assert penstock("register", "w", "--db", sqlite_url, *options).exit_code == 2
