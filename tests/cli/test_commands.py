"""What each command prints, and with which code it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from factories import define, rows, sql, start, tasks
from processes import PENSTOCK, environment, run

from engine.database import Database
from engine.states import Status
from engine.tables import flow_stat
from penstock.bench.running import until
from penstock.cli import SECTIONS, cli


def _every_command(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += _every_command(command, *path, name)
    return found


COMMANDS = _every_command(cli)


def one_line(result: Any) -> str:
    """The one line on stderr that says what is wrong."""
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return str(lines[0])


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=" ".join)
def test_help(penstock: Any, path: tuple[str, ...]) -> None:
    result = penstock(*path, "--help")
    assert result.exit_code == 0
    if path[:1] != ("db",) or len(path) == 1:
        assert "Example" in result.output
    assert penstock(*path, "-h").output == result.output


def test_the_help_text_has_every_command_in_one_section() -> None:
    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == sorted(cli.list_commands(click.Context(cli)))


def test_aliases_and_unknown_commands(penstock: Any) -> None:
    assert penstock("watcher", "--help").exit_code == 0
    assert penstock("register-server", "--help").exit_code == 0
    assert penstock("nonsense").exit_code == 2
    assert penstock("ps", "--nonsense").exit_code == 2
    assert penstock("--version").output.startswith("penstock, version ")


def test_json_of_everything(penstock: Any, db: Database, url: str) -> None:
    define(db, steps=2, program="Nope")
    first = start(db)
    made = json.loads(penstock("register", "w", "--db", url, "--json", "--param", "A=1", "--key", "k").output)
    assert (made["status"], made["taskId"], made["replayed"]) == ("succeeded", "w", False)
    again = json.loads(penstock("register", "w", "--db", url, "--json", "--param", "A=1", "--key", "k").output)
    assert again == {**made, "replayed": True}

    assert penstock("watch", "--db", url, "--until-idle", "--interval", "0.1", "--log-level", "error").exit_code == 0
    listed = json.loads(penstock("ps", "--db", url, "--json").output)
    assert {flow["task_flow_id"] for flow in listed["flows"]} == {first, made["taskFlowId"]}
    page = json.loads(penstock("ps", "--db", url, "--json", "-n", 1).output)
    rest = json.loads(penstock("ps", "--db", url, "--json", "--cursor", page["next"]).output)
    assert [*page["flows"], *rest["flows"]] == listed["flows"]
    assert json.loads(penstock("ps", "--db", url, "--json", "--status", "finish").output)["flows"] == []

    tasks_of = json.loads(penstock("ps", first, "--db", url, "--json").output)
    assert [task["status"] for task in tasks_of["tasks"]] == ["SUSPEND", "WAIT"]
    assert json.loads(penstock("show", first, "--db", url, "--json").output) == tasks_of
    failed = json.loads(penstock("ps", "--failed", "--db", url, "--json").output)
    assert {task["reason"] for task in failed} == {"unknown program"}
    recovered = json.loads(penstock("recover", first, "--db", url, "--json").output)
    assert recovered == {"outcome": "done", "verb": "recover", "subject": first, "answer": {"seqs": [1]}}

    findings = penstock("check", "--db", url, "--json")
    assert findings.exit_code == 1
    assert any("Nope" in item["words"] for item in json.loads(findings.output) if item["level"] == "problem")
    assert json.loads(penstock("db", "init", "--no-samples", "--db", url, "--json").output)["revision"]
    assert json.loads(penstock("db", "upgrade", "--db", url, "--json").output)["revision"]
    assert json.loads(penstock("db", "check", "--db", url, "--json").output)["differences"] == []
    assert "EchoParamTimeSleep" in {item["name"] for item in json.loads(penstock("programs", "--json").output)}


def test_flows_of_every_status_can_be_listed(penstock: Any, db: Database, url: str) -> None:
    define(db)
    for status in Status:
        flow_id = start(db)
        sql(db, f"UPDATE kr_flow_stat SET flow_status = {status.value} WHERE task_flow_id = '{flow_id}'")
        listed = json.loads(penstock("ps", "--status", status.name.lower(), "--db", url, "--json").output)
        assert [flow["task_flow_id"] for flow in listed["flows"]] == [flow_id]


def test_exit_codes(penstock: Any, sqlite_url: str) -> None:
    here = "--db", sqlite_url
    assert penstock("ps", *here).exit_code == 0
    assert penstock("ps").exit_code == 1  # no tables
    assert penstock("register", "w", "--priority", 20, *here).exit_code == 2
    assert penstock("register", "w", "--param", "x", *here).exit_code == 2
    assert penstock("register", "w", "--parameters", "[1]", *here).exit_code == 2
    assert penstock("register", "x" * 257, *here).exit_code == 2
    assert penstock("ps", "--cursor", "nonsense", *here).exit_code == 2
    for command in ("ps", "show", "recover"):
        assert penstock(command, "nope", *here).exit_code == 3
    assert penstock("register", "nope", *here).exit_code == 3
    assert penstock("programs", "nope").exit_code == 3
    assert penstock("db", "reset", *here).exit_code == 4
    assert penstock("db", "reset", "--yes", *here).exit_code == 0
    assert penstock("ps", "--db", "postgresql://127.0.0.1:1/x").exit_code == 5


def test_errors_as_json(penstock: Any, sqlite_url: str) -> None:
    result = penstock("show", "nope", "--json", "--db", sqlite_url)
    assert json.loads(result.stdout) == {"error": "UnknownFlow", "message": "flow 'nope' does not exist", "exit": 3}
    result = penstock("programs", "nope", "--json")
    assert (result.exit_code, json.loads(result.stdout)["exit"]) == (3, 3)


def test_a_key_used_for_another_request(penstock: Any, db: Database, url: str) -> None:
    define(db)
    first = penstock("register", "w", "--key", "k", "--db", url)
    assert penstock("register", "w", "--key", "k", "--db", url).output == first.output
    other = penstock("register", "w", "--key", "k", "--priority", "-5", "--db", url)
    assert other.exit_code == 4
    assert "'k'" in one_line(other)
    assert first.output.strip() in other.stderr


@pytest.mark.parametrize("kind", ["sqlite"])
def test_register_and_wait(db: Database, url: str, tmp_path: Path) -> None:
    define(db, "good", steps=2)
    define(db, "bad", program="FailForTrials", param1_key="MESSAGE", param1_value="as asked")
    watching = subprocess.Popen([*PENSTOCK, "watch", "--db", url, "--log-level", "error"], env=environment())
    try:
        good = run("register", "good", "--wait", "--timeout", 40, "--db", url)
        assert good.returncode == 0, good.stderr
        assert good.stdout.count("FINISH") == 3
        bad = run("register", "bad", "--wait", "--timeout", 40, "--db", url, "--json")
        assert bad.returncode == 1
        assert json.loads(bad.stdout)["flow"]["tasks"][0]["error"] == "as asked"
    finally:
        watching.terminate()
        assert watching.wait(20) == 0


def test_waiting_for_too_long_and_interrupting(penstock: Any, sqlite_url: str) -> None:
    from engine.database import open_database

    db = open_database(sqlite_url)
    define(db)
    late = penstock("register", "w", "--wait", "--timeout", 0.3, "--db", sqlite_url)
    assert late.exit_code == 124
    assert "is still WAIT" in one_line(late)
    command = [*PENSTOCK, "register", "w", "--wait", "--db", sqlite_url]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        try:
            until(lambda: len(rows(db, flow_stat)) == 2, "it has registered", 20)
            time.sleep(0.5)
            waiting.send_signal(signal.SIGINT)
            _, words = waiting.communicate(timeout=20)
        finally:
            waiting.kill()
    db.close()
    assert waiting.returncode == 130
    assert b"Traceback" not in words


def test_failed_tasks_show_message_and_traceback_and_can_be_recovered(penstock: Any, db: Database, url: str) -> None:
    define(db, steps=2, program="FailForTrials", param1_key="MESSAGE", param1_value="disk [bold]full[/bold]")
    flow_id = start(db)
    run_out = "watch", "--db", url, "--until-idle", "--interval", "0.1", "--log-level", "error"
    assert penstock(*run_out).exit_code == 0
    sql(db, "UPDATE kr_task_attempt SET traceback = 'Traceback of old\n  line 2'")
    shown = penstock("ps", "--failed", "--db", url)
    assert f"{flow_id}/1" in shown.output
    assert "disk [bold]full[/bold]" in shown.output
    assert "Traceback of old" in shown.output
    assert "disk [bold]full[/bold]" in penstock("show", flow_id, "--db", url).output

    sql(db, "UPDATE ms_task_definition SET program = 'Noop'")  # which touches no run
    sql(db, "UPDATE kr_task_stat SET program = 'Noop', parameters = '{}'")
    assert "task 1" in penstock("recover", flow_id, "--db", url).output
    assert "nothing in this flow" in penstock("recover", flow_id, "--db", url).stderr
    assert penstock(*run_out).exit_code == 0
    assert [row.exec_status for row in tasks(db, flow_id)] == [3, 3]
    assert "Nothing is suspended" in penstock("ps", "--failed", "--db", url).stderr


@pytest.mark.parametrize(
    ("commands", "light"),
    [
        ([["ps"], ["ps", "--failed"], ["show", "x"], ["logs", "x"], ["queues"], ["events"]], ("pydantic", "anyio")),
        ([["recover", "x"], ["cancel", "x"], ["register", "x"]], ()),
    ],
)
def test_client_commands_load_no_server_and_no_migrations(
    sqlite_url: str, commands: list[list[str]], light: tuple[str, ...]
) -> None:
    script = f"""
import sys
from click.testing import CliRunner
from penstock.cli import cli
for arguments in {commands}:
    CliRunner().invoke(cli, [*arguments, "--db", sys.argv[1]])
heavy = ("alembic", "starlette", "uvicorn", "requests", *{light})
print([name for name in heavy if name in sys.modules])
"""
    answer = subprocess.run(
        [sys.executable, "-c", script, sqlite_url], capture_output=True, text=True, env=environment(), timeout=60
    )
    assert answer.stdout.strip() == "[]", answer.stderr
    only_help = "import sys, penstock.cli; print([n for n in ('sqlalchemy', 'rich', 'alembic') if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", only_help], capture_output=True, text=True, env=environment())
    assert answer.stdout.strip() == "[]", answer.stderr


def test_a_closed_pipe_is_no_traceback(sqlite_url: str) -> None:
    command = f"{' '.join(PENSTOCK)} programs --json | head -c 1"
    answer = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), timeout=60)  # noqa: S602 - a shell makes the pipe, and we its words
    assert "Traceback" not in answer.stderr


def test_show_tells_the_tasks_of_a_loop_apart(penstock: Any, db: Database, url: str) -> None:
    define(db, "w", steps=2)
    sql(db, "INSERT INTO ms_task_option(task_id, task_seq, name) VALUES ('w', 1, 'load')")
    flow_id = start(db, "w")
    sql(db, "UPDATE kr_task_stat SET iteration = 1, generation = 2 WHERE task_exec_seq = 1")
    sql(db, "UPDATE kr_flow_stat SET reason = 'cancelled'")
    shown = penstock("show", flow_id, "--db", url).output
    assert "load, round 2, run 3" in shown
    assert "WAIT (cancelled)" in shown
