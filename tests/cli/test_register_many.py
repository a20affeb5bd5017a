"""`penstock register --count` and `--from`, by either door."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from factories import define, rows

from engine.database import Database
from engine.tables import flow_stat, flow_tag
from penstock import many
from penstock.doors.door import Door
from penstock.doors.problems import Refused, Unavailable

pytestmark = pytest.mark.by_turns


def test_so_many_alike(penstock: Any, db: Database, door: list[str]) -> None:
    define(db, "w", 2)
    result = penstock(
        "register", "w", *door, "--count", 450, "--priority", 3, "-p", "DAY=1", "--run-key", "r", "--tag", "t"
    )
    assert result.exit_code == 0, result.output
    found = rows(db, flow_stat)
    assert sorted(result.stdout.split()) == sorted(row.task_flow_id for row in found)
    assert len(found) == 450
    assert {(row.flow_priority, row.parameters, row.run_key) for row in found} == {(3, '{"DAY":"1"}', "r")}
    assert {row.tag for row in rows(db, flow_tag)} == {"t"}
    assert result.stderr.startswith("450 registered in ")


def test_a_flow_for_each_line(penstock: Any, db: Database, door: list[str], tmp_path: Path) -> None:
    define(db, "w", 1)
    file = tmp_path / "days.ndjson"
    file.write_text('{"runKey": "a"}\n\n{"runKey": "b", "parameters": {"n": 1}}\n{"priority": 40}\nnot JSON\n')
    result = penstock("register", "w", *door, "--from", file, "--json")
    assert result.exit_code == 4
    told = json.loads(result.stdout)
    assert (told["registered"], told["refused"]) == (2, 2)
    assert [(problem["index"], problem["code"]) for problem in told["problems"]] == [(2, 422), (3, 422)]
    assert {row.run_key for row in rows(db, flow_stat)} == {"a", "b"}
    plain = penstock("register", "w", *door, "--from", file)
    assert plain.exit_code == 4
    assert "number 3: " in plain.stderr
    assert "2 registered in" in plain.stderr
    assert ", 2 refused" in plain.stderr


def test_again_with_the_key_makes_what_is_missing(penstock: Any, db: Database, door: list[str]) -> None:
    define(db, "w", 1)
    first = penstock("register", "w", *door, "--count", 3, "--key", "k").stdout.split()
    again = penstock("register", "w", *door, "--count", 5, "--key", "k").stdout.split()
    assert again[:3] == first
    assert len(rows(db, flow_stat)) == 5


def test_where_none_is_made_it_ends_as_one_would(penstock: Any, db: Database, door: list[str]) -> None:
    result = penstock("register", "nobody", *door, "--count", 3)
    assert result.exit_code == 3
    assert result.stderr.startswith("penstock: workflow 'nobody' has no rows")


class Moody:
    """A door that answers each request by what stands next in its list: an error, or nothing against it."""

    def __init__(self, *moods: Exception | None) -> None:
        self.moods = list(moods)

    def register_many(self, task_id: str, lines: Sequence[bytes]) -> dict[str, Any]:
        if mood := self.moods.pop(0):
            raise mood
        return {"task_flow_ids": ["f"] * len(lines), "problems": []}


BUSY, GONE = Unavailable("busy", 503, "busy"), Unavailable("unreachable", 0, "gone")


@pytest.mark.parametrize(
    ("moods", "key", "registered", "cut", "left"),
    [
        ((None, Refused("conflict", 409, "no"), None), None, 400, False, 0),
        ((None, BUSY, None, None), None, 600, False, 0),
        ((None, GONE, None, None), "k", 600, False, 0),
        ((None, GONE, None), None, 200, True, 1),
        ((Refused("forbidden", 403, "no"), None, None), "k", 0, True, 2),
    ],
)
def test_what_may_help_is_asked_again_and_what_cannot_is_not(
    moods: tuple[Any, ...], key: str | None, registered: int, cut: bool, left: int
) -> None:
    door: Any = Moody(*moods)
    tally = many.register_many(cast(Door, door), "w", [{}] * 600, key, lambda count: None)
    assert (tally.registered, tally.is_cut, len(door.moods)) == (registered, cut, left)


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
