"""Nonsense on the command line: one line that says what is wrong, a documented exit code, and no traceback."""

from __future__ import annotations

from typing import Any

import pytest
from factories import define

from engine.database import Database

pytestmark = pytest.mark.by_turns

IDS = {
    "sql": "x'; DROP TABLE kr_task_stat; --",
    "percent": "100%s",
    "right to left": "\u202egpj",
    "newline": "a\nb",
    "path": "../../etc/passwd",
    "longest": "x" * 256,
    "too long": "x" * 2_000,
    "empty": "",
    "lone surrogate": "a\udcff",
    "escape": "\x1b[2J",
}
CODES = {1, 2, 3}


@pytest.mark.parametrize("command", ["ps", "show", "recover", "register"])
@pytest.mark.parametrize("name", IDS)
def test_ids_that_nobody_has(penstock: Any, db: Database, url: str, command: str, name: str) -> None:
    result = penstock(command, "--db", url, "--", IDS[name])
    if command == "ps" and name == "empty":
        assert result.exit_code in {0, *CODES}
        return
    assert result.exit_code in CODES, result.output
    assert "Traceback" not in result.output
    assert "\x1b[2J" not in result.output


@pytest.mark.parametrize(
    "options",
    [
        ("--parameters", "{n:3"),
        ("--parameters", "[1]"),
        ("--parameters", '{"a":1,"a":2}'),
        ("--parameters", '{"a":NaN}'),
        ("--parameters", "[" * 10_000),
        ("--parameters", '{"a":"\\ud800"}'),
        ("--param", "x"),
        ("--priority", "20"),
        ("--priority", "high"),
        ("--priority", "9" * 30),
        ("--key", ""),
        ("--key", "k" * 256),
        ("--nonsense",),
    ],
)
def test_bad_registrations(penstock: Any, db: Database, url: str, options: tuple[str, ...]) -> None:
    define(db)
    result = penstock("register", "w", "--db", url, *options)
    assert result.exit_code == 2, result.output[:500]
    assert "Traceback" not in result.output
