"""Every command by both doors: a database, or a service over a socket. The answers are the same."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest
from awaiting import awaiting, waits_of
from factories import claim, define, enlisted, flow, rows, settle_as, start, states

from engine.commands import COMMANDS
from engine.database import Database
from engine.settle import Settlement
from engine.states import Reason, Status
from engine.tables import command
from penstock.cli import VERBS, cli
from penstock.commands.logs import Shown

pytestmark = pytest.mark.by_turns


def test_every_command_of_the_table_is_one_of_the_command_line() -> None:
    elsewhere = {"register", "apply"}  # files of their own in penstock/commands, with more than the command itself
    grouped = {"create_token", "revoke_token", "set_principal", "drop_principal"}
    assert {name.replace("_", "-") for name in COMMANDS if name not in grouped} - elsewhere == set(VERBS)
    for name in grouped:
        verb, _, noun = name.partition("_")
        group = cli.get_command(click.Context(cli), noun)
        assert isinstance(group, click.Group)
        assert verb in group.commands
    for name, one in COMMANDS.items():
        if name in grouped | elsewhere:
            continue
        made = cli.get_command(click.Context(cli), name.replace("_", "-"))
        assert made is not None
        params = {param.name for param in made.params}
        assert params >= set(one.arguments.model_fields)


def test_a_flow_by_either_door(penstock: Any, db: Database, door: list[str]) -> None:
    define(db, steps=2)
    made = json.loads(penstock("register", "w", "--tag", "a=b", "--run-key", "k", "--json", *door).output)
    flow_id = made["taskFlowId"]
    for flags in (["--tag", "a=b"], ["--run-key", "k"], ["--text", "K"], ["--workflow", "w"], ["--status", "wait"]):
        found = json.loads(penstock("ps", *flags, "--json", *door).output)
        assert [one["task_flow_id"] for one in found["flows"]] == [flow_id], flags
    done = penstock("pause", f"{flow_id}/2", "--reason", "not yet", "--json", *door)
    assert json.loads(done.output) == {
        "outcome": "done",
        "verb": "pause",
        "subject": flow_id,
        "answer": {"seqs": [2]},
    }
    assert states(db, flow_id)[1] == (Status.SUSPEND, 1)
    assert rows(db, command)[-1].reason == "not yet"
    assert "task 2" in penstock("resume", flow_id, *door).output
    assert "nothing in this flow" in penstock("resume", flow_id, *door).stderr
    shown = json.loads(penstock("show", flow_id, "--json", *door).output)
    assert [task["task_exec_seq"] for task in shown["tasks"]] == [1, 2]
    assert shown["tags"] == ["a=b"]
    events = json.loads(penstock("events", flow_id, "--json", *door).output)["events"]
    assert [one["what"] for one in events] == ["task resumed", "task paused"]


def test_what_needs_a_person_by_either_door(penstock: Any, db: Database, door: list[str]) -> None:
    define(db)
    flow_id = start(db)
    enlisted(db)
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="the disk is full")])
    assert "the disk is full" in penstock("ps", "--failed", *door).output
    assert "task 1" in penstock("retry", f"{flow_id}/1", *door).output
    key = awaiting(db, "approval", name="ok?")
    [wait] = waits_of(db, key)
    assert wait.wait_id in penstock("waits", *door).output
    assert penstock("answer", wait.wait_id, "--payload", '{"approved": true}', *door).exit_code == 0
    assert waits_of(db, key)[0].state == "arrived"


def test_queues_limits_and_figures_by_either_door(penstock: Any, db: Database, door: list[str]) -> None:
    define(db)
    start(db)
    assert penstock("set-limit", "default", "--scope", "queue", "--max-running", "3", *door).exit_code == 0
    assert penstock("pause-queue", "default", "--reason", "moving", *door).exit_code == 0
    for name in ("queues", "limits"):
        assert "moving" in penstock(name, *door).output
    assert "pause_queue" in penstock("commands", *door).output
    stats = json.loads(penstock("stats", "--json", *door).output)
    assert (stats["now"]["flows_wait"], stats["minutes"]) == (1, [])
    assert "default" in penstock("top", "--once", *door).output
    assert "No watchers" in penstock("watchers", *door).stderr


def test_logs_of_a_flow_and_of_a_task(penstock: Any, db: Database, door: list[str]) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    settle_as(db, [Settlement(claim(db)[0], "finish", log="one\n")])
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x", log="two")])
    every = penstock("logs", flow_id, *door).output
    assert every.splitlines() == ["1  Noop  finished", "one", "2  Noop  failed", "two"]
    assert penstock("logs", f"{flow_id}/2", *door).output.splitlines() == ["2  Noop  failed", "two"]
    found = json.loads(penstock("logs", flow_id, "--json", *door).output)
    assert [one["text"] for one in found["logs"]] == ["one\n", "two"]


@pytest.mark.parametrize(
    ("texts", "printed"),
    [
        (["one\ntwo\n", "one\ntwo\nthree\n", "one\ntwo\nthree"], ["one", "two", "three"]),
        (["one\n\n", "one\n\ntwo"], ["one", "", "two"]),
        (["half", "half a line\n"], ["half", " a line"]),
        (["one\ntwo\nthree\nfour\n", "... left out ...\nthree\nfour\nfive"], ["one", "two", "three", "four", "five"]),
        (["one\n", "nothing of that"], ["one", "nothing of that"]),
    ],
)
def test_what_is_new_of_a_log_is_shown_once(
    texts: list[str], printed: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the attempt keeps less of it than was shown while it ran."""
    monkeypatch.setattr("penstock.commands.logs.REMEMBERED", 10)
    shown = Shown()
    for text in texts:
        shown.show({"claim_id": "c", "task_exec_seq": 1, "program": "P", "outcome": None, "text": text})
    assert capsys.readouterr().out.splitlines() == ["1  P  running", *printed]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("cancel", "nowhere"), 3, "nowhere"),
        (("ps", "nowhere"), 3, "nowhere"),
        (("retry", "FLOW/1"), 4, "only a suspended"),
        (("retry", "FLOW/9"), 2, "9"),
        (("set-priority", "FLOW", "--priority", "99"), 2, "priority"),
        (("resume-queue", "default"), 4, "not paused"),
        (("drain", "nobody"), 3, "nobody"),
        (("answer", "nothing", "--payload", "1"), 3, "nothing"),
    ],
)
def test_refusals_have_the_same_exit_codes(
    penstock: Any, db: Database, door: list[str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    define(db)
    flow_id = start(db)
    result = penstock(*(part.replace("FLOW", flow_id) for part in arguments), *door)
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert flow(db, flow_id).flow_status == Status.WAIT


def test_a_flow_id_may_look_like_a_task(penstock: Any, db: Database, door: list[str]) -> None:
    define(db)
    start(db, flow_id="a/1")
    start(db, flow_id="a")
    penstock("cancel", "a/1", *door)
    assert penstock("pause", "a/1", *door).exit_code == 0
    assert [flow(db, one).flow_status for one in ("a", "a/1")] == [Status.WAIT, Status.IGNORE]
    penstock("pause", "a/1,1", *door)
    assert flow(db, "a").flow_status == Status.SUSPEND


def test_a_service_that_is_not_there_is_said_to_be(penstock: Any) -> None:
    result = penstock("pause", "x", "--url", "http://127.0.0.1:1")
    assert (result.exit_code, "cannot be reached" in result.stderr) == (5, True)
    other = penstock("ps", "--url", "http://127.0.0.1:1", "--json")
    assert json.loads(other.output)["exit"] == 5


def test_why_by_either_door(penstock: Any, db: Database, door: list[str]) -> None:
    define(db, steps=2)
    flow_id = start(db)
    penstock("pause-queue", "default", "--reason", "the provider is down", *door)
    told = penstock("why", flow_id, *door)
    assert "the provider is down" in told.output
    found = json.loads(penstock("why", f"{flow_id}/2", "--json", *door).output)
    [task] = found["tasks"]
    assert (task["task_exec_seq"], [cause["cause"] for cause in task["causes"]]) == (2, ["dependency"])
    assert penstock("why", "nowhere", *door).exit_code == 3
    assert penstock("why", f"{flow_id}/9", *door).exit_code == 3
