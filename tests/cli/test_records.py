"""`penstock commands`, `events`, `prune --records`: what operators changed, in words and as lines to keep elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import define, rows, sql, start

from engine.database import Database
from engine.tables import command, event
from penstock.changes import said

pytestmark = pytest.mark.by_turns


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_what_was_changed_is_said_and_taken_out_by_either_door(penstock: Any, db: Database, door: list[str]) -> None:
    define(db)
    flow_id = start(db)
    for most in ("10", "20"):
        assert penstock("set-limit", "mail", "--scope", "queue", "--max-running", most, *door).exit_code == 0
    assert penstock("pause", flow_id, *door).exit_code == 0
    seen = penstock("commands", *door).output
    for words in (
        "made: max_running 10",
        "max_running: 10 -> 20",
        "status: WAIT -> SUSPEND; tasks: 1 WAIT -> 1 SUSPEND",
    ):
        assert words in seen
    numbers = [row.command_id for row in rows(db, command)]
    every = lines(penstock("commands", "--after", numbers[0] - 1, "--json", *door).output)
    assert [one["command_id"] for one in every] == numbers
    assert every[1]["changes"] == {"before": {"max_running": 10}, "after": {"max_running": 20}}
    assert lines(penstock("commands", "--after", numbers[0], "--json", *door).output) == every[1:]
    assert "10 -> 20" in penstock("commands", "--after", numbers[0], "--subject", "mail", *door).output
    assert penstock("commands", "--after", numbers[-1], *door).output == ""
    told = [row.event_id for row in rows(db, event)]
    found = lines(penstock("events", "--after", told[0], "--json", *door).output)
    assert [one["event_id"] for one in found] == told[1:]
    [of_flow] = lines(penstock("events", flow_id, "--after", told[0], "--json", *door).output)
    assert of_flow["what"] == "task paused"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("commands", "-f"), "--follow goes with --after"),
        (("commands", "--after", "0", "--limit", "3"), "--limit goes without --after"),
        (("events", "--after", "0", "--cursor", "3"), "--cursor goes without --after"),
        (("prune", "--records", "--older-than", "1d", "--workflow", "w"), "--workflow is about flows"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    penstock: Any, sqlite_url: str, arguments: tuple[str, ...], words: str
) -> None:
    refused = penstock(*arguments, "--db", sqlite_url)
    assert (refused.exit_code, words in refused.stderr) == (2, True)


def test_old_records_are_counted_and_deleted(penstock: Any, db: Database, url: str) -> None:
    for verb in ("pause-queue", "resume-queue", "pause-queue"):
        assert penstock(verb, "mail", "--db", url).exit_code == 0
    sql(db, "UPDATE kr_command SET handled_ts = '2001-01-01 00:00:00' WHERE verb = 'resume_queue'")
    would = penstock("prune", "--records", "--older-than", "30d", "--dry-run", "--db", url)
    assert would.output == "1 commands and 0 events of no flow would be deleted\n"
    done = penstock("prune", "--records", "--older-than", "30d", "--json", "--db", url)
    assert json.loads(done.output) == {"commands": 1, "events": 0, "dryRun": False}
    assert [row.verb for row in rows(db, command)] == ["pause_queue", "pause_queue"]
    told = rows(db, event)[-1]
    assert (told.what, told.actor.startswith("cli:")) == ("records deleted", True)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {}, ""),
        (None, {"wait_id": "w"}, "made: wait_id w"),
        ({"rate": 1.5, "paused_by": None}, None, "gone: rate 1.5, paused_by none"),
        ({"workflows": ["a"]}, {"workflows": None}, 'workflows: ["a"] -> none'),
        ({"parameters": {"A": 1}}, {"parameters": {"B": "x"}}, "parameters: A 1 -> B x"),
        ({"statuses": {"WAIT": 2}}, {"statuses": {"IGNORE": 2}, "flows": 1}, "statuses: WAIT 2 -> IGNORE 2; flows: 1"),
        (
            {"tasks": [{"seqs": "1,3", "status": "WAIT"}, {"more": 4}]},
            {"tasks": [{"seqs": "1,3", "status": "IGNORE"}]},
            "tasks: 1,3 WAIT, 4 more -> 1,3 IGNORE",
        ),
    ],
)
def test_changes_in_words(before: Any, after: Any, words: str) -> None:
    assert said({"before": before, "after": after}) == words
    assert said(None) == said("what somebody wrote by hand") == ""
