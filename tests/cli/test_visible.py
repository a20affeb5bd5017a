"""What others wrote, on a terminal: it is shown, and does nothing."""

from __future__ import annotations

from typing import Any

import pytest
from factories import define, enlisted, start
from sqlalchemy import insert

from engine.database import Database
from engine.tables import attempt, workflow
from penstock.visible import visible, visible_log

RED, TITLE, UP = "\x1b[31m", "\x1b]0;owned\x07", "\x1b[1A"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nä 字\r\n", "plain\ttext\nä 字\r\n"),
        (f"{RED}x", "\\x1b[31mx"),
        (TITLE, "\\x1b]0;owned\\x07"),
        ("a\rb\x7f\x9b2J\0", "a\\x0db\\x7f\\x9b2J\\x00"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_is_hidden_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_logs_have_their_colours_and_nothing_else() -> None:
    assert visible_log(f"{RED}x{UP}{TITLE}") == f"{RED}x\\x1b[1A\\x1b]0;owned\\x07\x1b[0m"
    assert visible_log("plain") == "plain"


@pytest.mark.by_turns
def test_names_are_no_markup_and_move_no_cursor(db: Database, url: str, penstock: Any) -> None:
    name = f"[/red]{TITLE}{UP}"
    define(db, name, program=name)
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id=name, description=name))
    flow_id = start(db, name, run_key=name, parameters={name: name})
    enlisted(db)
    with db.transaction() as conn:
        tried = {"claim_id": "x", "claim_no": 1, "outcome": "finished", "accepted": True, "log": name}
        conn.execute(insert(attempt).values(task_flow_id=flow_id, task_exec_seq=1, **tried))
    for command in (("ps",), ("ps", flow_id), ("show", flow_id), ("why", flow_id), ("workflows",), ("events",)):
        result = penstock(*command, "--db", url)
        assert result.exit_code == 0, (command, result.output)
        assert "\x1b" not in result.output, command
        assert "\x07" not in result.output, command
