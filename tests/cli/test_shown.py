"""Whatever command somebody types: nothing that stands in the database moves the cursor of the terminal."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, _NamedTextIOWrapper
from factories import define, enlisted, insert_task, start
from letting_in import ROOT as ROOT_ACTOR
from sqlalchemy import insert, update

from engine.access import Actor
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.dialects.clock import now
from engine.tables import attempt, event, task_option, task_stat, wait, watcher, workflow
from penstock import logs
from penstock.cli import LazyGroup, cli
from penstock.commands import fsck

ROOT = Path(__file__).resolve().parents[2]
NASTY = "[/red]\x1b]0;owned\x07\x1b[1A\x9b2J\u202e"
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
FLOW, HAND = "FLOW", "HAND"
FILE = f"{NASTY.replace('/', '')}.json"
NEW = json.dumps({"task_id": NASTY, "steps": [{"seq": 1, "program": NASTY + "2", "parameters": {NASTY: NASTY}}]})
WALK: dict[str, list[tuple[str, ...]]] = {
    "register": [(NASTY, "--run-key", NASTY), (f"no{NASTY}",), (NASTY, "--count", "2", "--key", NASTY)],
    "validate": [("new.json",), ("new.json", "--no-check-programs"), ("bad.json",), ("bad.sql",)],
    "diff": [(NASTY, "new.json"), (NASTY, "none" + NASTY), (NASTY,)],
    "export": [(NASTY,), (NASTY, "--format", "sql"), (NASTY, "--format", "json")],
    "workflows": [()],
    "versions": [(NASTY,)],
    "ps": [(), (FLOW,), ("--failed",)],
    "show": [(FLOW,)],
    "why": [(FLOW,), (HAND,), (f"{FLOW}/1",), (NASTY,)],
    "logs": [(FLOW,)],
    "top": [("--once",)],
    "stats": [()],
    "queues": [()],
    "limits": [()],
    "watchers": [()],
    "waits": [()],
    "events": [(), (FLOW,)],
    "commands": [()],
    "programs": [(), (NASTY,)],
    "plugins": [(), ("--plugins", NASTY)],
    "check": [()],
    "fsck": [(), ("--at-rest", "--repair", "--dry-run")],
    "prune": [("--older-than", "1d", "--workflow", NASTY)],
    "db": [("check",)],
    "token": [("list",), ("create", NASTY, "--role", "viewer"), ("revoke", NASTY)],
    "principal": [("list",), ("set", NASTY, "--role", "viewer"), ("drop", NASTY)],
    "answer": [(NASTY, "--payload", "{}"), (NASTY, "--payload", '{"approved": true}'), ("no" + NASTY,)],
    "send": [(NASTY, "--key", NASTY, "--payload", "{}")],
    "call-back": [("--wait-token", NASTY, "--payload", "{}"), ("--wait-token", "t" * 43, "--payload", "{}")],
    "resume-queue": [(NASTY,)],
    "pause-queue": [(NASTY, "--reason", NASTY), (NASTY,)],
    "resume-workflow": [(NASTY,)],
    "pause-workflow": [(NASTY,)],
    "set-limit": [(NASTY, "--scope", "key", "--max-running", "3"), (NASTY, "--scope", NASTY)],
    "drop-limit": [(NASTY, "--scope", "key")],
    "drain": [(NASTY,)],
    "set-priority": [(FLOW, "--priority", "1"), (FLOW, "--priority", NASTY)],
    "set-parameters": [(f"{FLOW}/1", "-p", f"{NASTY}={NASTY}")],
    "set-flow-parameters": [(FLOW, "-p", f"{NASTY}={NASTY}")],
    "finish": [(f"{FLOW}/1", "--result", json.dumps(NASTY)), (f"{FLOW}/1", "--result", NASTY)],
    "bulk": [
        ("--verb", "pause", "--where", json.dumps({"task_id": NASTY})),
        ("--verb", NASTY, "--where", json.dumps({"name": NASTY})),
    ],
    **{verb: [(FLOW,)] for verb in ("pause", "resume", "recover", "retry", "run-again", "rerun", "cancel")},
    "ignore": [(f"{FLOW}/1",), (NASTY, NASTY)],
    "apply": [
        (FILE,),
        ("new.json",),
        ("new.json", "--no-check-programs", "--dry-run"),
        ("new.json", "--no-check-programs"),
    ],
    "delete-workflow": [(NASTY,), (NASTY, "--force")],
}
"""In this order."""
OTHERS = {"up", "serve", "watch", "work", "bench", "completion"}
"""Services, whose log is a test of its own; and what shows no rows."""


@pytest.fixture
def flow_id(sqlite_db: Database) -> str:
    """A flow with everything about it that others may name."""
    define(sqlite_db, NASTY, program=NASTY, param1_key=NASTY, param1_value=NASTY)
    define(sqlite_db, f"bad{NASTY}", program="Noop", param1_key=NASTY, param1_value=NASTY, param2_key=NASTY)
    with sqlite_db.transaction() as conn:
        about = {"description": NASTY, "owner": NASTY, "tags": json.dumps([NASTY])}
        conn.execute(insert(workflow).values(task_id=NASTY, **about))
        conn.execute(insert(task_option).values(task_id=NASTY, task_seq=1, name=NASTY, queue=NASTY))
    found = start(sqlite_db, NASTY, run_key=NASTY, parameters={NASTY: NASTY}, tags=[NASTY])
    insert_task(sqlite_db, f"hand{NASTY}", task_id=NASTY, program=NASTY, queue=NASTY)
    enlisted(sqlite_db, NASTY)
    root = Actor(NASTY, ROOT_ACTOR.role)
    for verb in ("pause_queue", "pause_workflow"):
        carry_out(sqlite_db, Ask(verb, NASTY, {}, NASTY), root)
    carry_out(sqlite_db, Ask("set_principal", NASTY, {"role": "viewer", "workflows": [NASTY + "*"]}), root)
    carry_out(sqlite_db, Ask("create_token", NASTY, {"role": "viewer", "token_hash": "0" * 64}), root)
    with sqlite_db.transaction() as conn:
        tried = {"outcome": "failed", "watcher_id": NASTY, "error": NASTY, "traceback": NASTY, "log": NASTY}
        conn.execute(insert(attempt).values(task_flow_id=found, task_exec_seq=1, claim_id="x", claim_no=1, **tried))
        conn.execute(insert(event).values(event_ts=now(), task_flow_id=found, what=NASTY, actor=NASTY, details=NASTY))
        conn.execute(update(watcher).values(label=NASTY, host=NASTY, queues=json.dumps([NASTY])))
        asked = {"wait_id": NASTY, "kind": "approval", "name": NASTY, "correlation_key": NASTY, "details": "{}"}
        conn.execute(insert(wait).values(task_flow_id=found, task_exec_seq=1, created_ts=now(), **asked))
        failed = {"exec_status": 2, "reason": "failed", "error": NASTY, "result": json.dumps(NASTY), "claims": 1}
        conn.execute(update(task_stat).where(task_stat.c.task_flow_id == found).values(**failed))
    return found


def test_no_command_prints_what_moves_a_cursor(sqlite_url: str, flow_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(WALK) == {*LazyGroup.shown} - OTHERS, "every command has its line here"
    Path("new.json").write_text(NEW)
    bad = {"task_id": NASTY, NASTY: 1, "steps": [{"seq": 1, "program": NASTY, "only_if": NASTY, "queue": 5}]}
    for name in ("bad.json", FILE):
        Path(name).write_text(json.dumps(bad))
    Path("bad.sql").write_text(f"DELETE FROM {NASTY};")
    monkeypatch.setattr(fsck, "CONFIRM_S", 0.0)
    said, done = "", set()
    for command, runs in WALK.items():
        on_terminal = command in ("export", "logs")  # which are files elsewhere
        monkeypatch.setattr(_NamedTextIOWrapper, "isatty", lambda self, is_so=on_terminal: is_so, raising=False)
        for given in runs:
            names = [one.replace(FLOW, flow_id).replace(HAND, f"hand{NASTY}") for one in given]
            where = () if command in ("validate", "programs", "plugins") else ("--db", sqlite_url)
            result = CliRunner().invoke(cli, [command, *names, *where], prog_name="penstock")
            assert result.exception is None or isinstance(result.exception, SystemExit), (command, given)
            shown = re.sub(r"\x1b\[[0-9;]*m", "", result.output)  # colours of our own: a title's is not among them
            assert RAW.search(shown) is None, (command, given, result.output)
            said += result.output
            done |= {command} if result.exit_code == 0 else set()
    assert set(WALK) - done == {"check", "fsck"}, "all others did something"
    assert said.count("\\x1b]0;owned\\x07") > 100, "it was there to be shown"


def test_json_says_the_same_and_moves_nothing(sqlite_url: str, flow_id: str, penstock: Any) -> None:
    for command in (("ps", flow_id), ("show", flow_id), ("why", flow_id), ("workflows",), ("limits",)):
        said = penstock(*command, "--json", "--db", sqlite_url).stdout
        assert RAW.search(said) is None, command
        assert NASTY in "".join(strings(json.loads(said))), command


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_log_has_one_line_for_each_thing_said_and_no_variables(
    monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", into := io.StringIO())
    logs.set_up(as_json=as_json)
    password = "not to be told"
    try:
        raise ValueError(f"{NASTY}\n2026-01-01 [info] forged", len(password))
    except ValueError:
        structlog.get_logger("a").exception("failed", task=f"{NASTY}\n2026-01-01 [info] forged")
        logging.getLogger("b").error("%s failed", f"/{NASTY}\r\n2026-01-01 [info] forged", exc_info=True)
    said = into.getvalue()
    assert RAW.search(said) is None
    assert "forged" in said
    assert not re.search(r"^(2026-01-01|forged)", said, re.MULTILINE)
    assert password not in said


def test_nothing_is_printed_past_what_shows() -> None:
    """In the source: what click prints is a constant, or has gone through `visible`; the rest goes through `say`."""
    found = []
    for path in sorted((ROOT / "penstock").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "click.secho", "print"):
                printed = ast.unparse(node.args[0]) if node.args else "''"
                if not re.match(r"""['"]|visible""", printed) and (path.name, printed) not in PLAIN:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {printed}")
    assert found == []


PLAIN = {
    ("output.py", "nothing"),  # constants of those who call
    ("export.py", "visible(said) if sys.stdout.isatty() else said"),
    ("logs.py", "visible_log(new) if sys.stdout.isatty() else new"),
    ("completion.py", "found(cli, {}, 'penstock', '_PENSTOCK_COMPLETE').source()"),
}
