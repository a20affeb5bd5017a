"""`penstock fsck` and `penstock prune` as a person and a monitor use them, also beside a watcher that works."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import processes
import pytest
from damage import DAMAGE, chain
from factories import claim, define, enlisted, finish, rows, run_all, sql, start
from invariants import broken, hold
from patience import until
from sqlalchemy import update

from engine import fsck
from engine.database import Database
from engine.dialects.clock import later
from engine.tables import event, flow_stat, task_stat
from penstock.durations import seconds_of

pytestmark = pytest.mark.by_turns

ABOUT_NOW = 0.01


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.commands.fsck.CONFIRM_S", ABOUT_NOW)


def test_a_clean_database(db: Database, url: str, penstock: Any) -> None:
    chain(db)
    found = penstock("fsck", "--db", url)
    assert (found.exit_code, found.stdout) == (0, "")
    assert "Every invariant holds" in found.stderr
    assert json.loads(penstock("fsck", "--db", url, "--json").stdout)["clean"] is True


def test_every_invariant_is_explained() -> None:
    document = (Path(__file__).parents[2] / "docs/fsck.md").read_text()
    lines = [
        f"| {one.name}{' ●' if one.at_rest else ''} | {one.statement} | {one.remedy} |"
        for one in fsck.INVARIANTS.values()
    ]
    assert [line for line in lines if line not in document] == []


def test_damage_is_shown_with_the_remedy(db: Database, url: str, penstock: Any, quick: None) -> None:
    chain(db)
    sql(db, DAMAGE["I10"].statements[0])
    found = penstock("fsck", "--db", url)
    assert found.exit_code == 1
    for words in ("I10", "wait_count is what a recount", "f/3", "--repair counts anew"):
        assert words in found.stdout
    document = json.loads(penstock("fsck", "--db", url, "--json").stdout)
    (finding,) = document["findings"]
    assert (finding["name"], finding["violations"], document["left"]) == ("I10", 1, {"I10": 1})
    assert finding["rows"][0] == {
        "taskFlowId": "f",
        "taskExecSeq": 3,
        "wait_count": 2,
        "open_before": 1,
        "open_waits": 0,
    }
    assert penstock("fsck", "--db", url, "--only", "I11, J1").exit_code == 0
    assert penstock("fsck", "--db", url, "--flow", "another").exit_code == 0
    assert penstock("fsck", "--db", url, "--since", "1h").exit_code == 1


def test_repair_from_the_command_line(db: Database, url: str, penstock: Any, quick: None) -> None:
    chain(db)
    sql(db, DAMAGE["I10"].statements[0])
    would = penstock("fsck", "--db", url, "--repair", "--dry-run")
    assert (would.exit_code, "would be repaired" in would.stdout) == (1, True)
    assert "I10" in broken(db)
    done = penstock("fsck", "--db", url, "--repair", "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, document["clean"], document["left"]) == (0, True, {})
    assert [(one["name"], one["outcome"]) for one in document["repairs"]] == [("I10", "repaired")]
    assert [row.actor for row in rows(db, event) if row.what == "repaired"] == ["fsck"]
    hold(db)


def test_what_a_person_must_mend_keeps_the_exit_code(db: Database, url: str, penstock: Any, quick: None) -> None:
    chain(db)
    for statement in DAMAGE["I5b"].statements:
        sql(db, statement)
    found = penstock("fsck", "--db", url, "--repair")
    assert (found.exit_code, "for a person" in found.stdout) == (1, True)


def test_what_cannot_be_checked_is_told_apart(penstock: Any, tmp_path: Path, sqlite_url: str) -> None:
    assert penstock("fsck", "--db", "sqlite:////nowhere/at/all.db").exit_code == 2
    assert penstock("fsck", "--db", f"sqlite:///{tmp_path}/empty.db").exit_code == 2
    assert penstock("fsck", "--db", "postgresql+psycopg://x@127.0.0.1:1/none?connect_timeout=1").exit_code == 2
    wrong = penstock("fsck", "--db", sqlite_url, "--only", "I99")
    assert (wrong.exit_code, "I99" in wrong.stderr) == (2, True)
    assert penstock("fsck", "--db", sqlite_url, "--dry-run").exit_code == 2


def test_a_monitor_beside_a_working_watcher_sees_nothing(db: Database, url: str, tmp_path: Path) -> None:
    """Flows come and go all the while: each look sees whole commits, and so nothing that is not so."""
    define(db, steps=3)
    with processes.Service(tmp_path / "log", "watch", "--db", url, "--workers", 8, "--no-plugins") as watching:
        watching.said("watcher started")
        stop = threading.Event()
        feeder = threading.Thread(target=_feed, args=(db, stop))
        feeder.start()
        try:
            seen = [finding for _ in range(8) for finding in fsck.check(db)]
        finally:
            stop.set()
            feeder.join(60)
        found = processes.run("fsck", "--db", url, "--json")
        assert json.loads(found.stdout)["findings"] == []
        assert seen == []
        until(lambda: not [row for row in rows(db, flow_stat) if row.flow_status != 3])
        assert len(rows(db, flow_stat)) > 100
        assert processes.run("fsck", "--db", url, "--at-rest").returncode == 0


def _feed(db: Database, stop: threading.Event) -> None:
    number = 0
    while number < 110 or (not stop.is_set() and number < 400):
        start(db, flow_id=f"f{number:04}")
        number += 1


def ended_long_ago(db: Database, flows: int, steps: int = 3) -> None:
    define(db, steps=steps)
    enlisted(db)
    for number in range(flows):
        start(db, flow_id=f"f{number:03}")
    while claimed := claim(db, 100):
        finish(db, *claimed)
    with db.transaction() as conn:
        conn.execute(update(flow_stat).values(registered_ts=later(-86_400.0)))
        for number in range(flows):  # one after the other: that is the order in which they are deleted
            this = flow_stat.c.task_flow_id == f"f{number:03}"
            conn.execute(update(flow_stat).where(this).values(finished_ts=later(number - 86_400.0)))


def test_prune_from_the_command_line(db: Database, url: str, penstock: Any) -> None:
    ended_long_ago(db, 5)
    fresh = start(db)
    run_all(db)
    would = penstock("prune", "--db", url, "--older-than", "12h", "--dry-run")
    assert (would.exit_code, would.stdout) == (0, "5 flows with 15 tasks would be deleted\n")
    assert len(rows(db, flow_stat)) == 6
    done = penstock("prune", "--db", url, "--older-than", "12h", "--batch", 2, "--json")
    assert json.loads(done.stdout) == {"flows": 5, "tasks": 15, "dryRun": False}
    assert [row.task_flow_id for row in rows(db, flow_stat)] == [fresh]
    hold(db, at_rest=True)


@pytest.mark.parametrize("wrong", ["", "soon", "-1d", "1x", "1e3", "inf", "nan", "1d2h", "99999w", "٣d"])
def test_a_bad_duration_is_told(penstock: Any, sqlite_url: str, wrong: str) -> None:
    for arguments in (("prune", f"--older-than={wrong}"), ("watch", f"--retention={wrong}")):
        found = penstock(*arguments, "--db", sqlite_url)
        assert found.exit_code == 2, found.output
        assert "duration" in found.stderr or "hundred years" in found.stderr


def test_retention_must_be_a_second_or_more(penstock: Any, sqlite_url: str) -> None:
    found = penstock("watch", "--retention=0s", "--db", sqlite_url)
    assert (found.exit_code, "retention_s: 0 is less than 1" in found.stderr) == (1, True)


def test_a_retention_of_a_workflow_is_checked_when_it_is_registered(
    penstock: Any, sqlite_url: str, db: Database
) -> None:
    define(db, "w")
    sql(db, "INSERT INTO ms_workflow(task_id, retention_s) VALUES ('w', -5)")
    with pytest.raises(AssertionError, match="retention_s -5"):
        start(db)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("12h", 43_200), ("30d", 2_592_000), (" 2 w ", 1_209_600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_a_watcher_with_a_retention_deletes(db: Database, url: str, tmp_path: Path) -> None:
    ended_long_ago(db, 30)
    fresh = start(db)
    options = ("--retention", "12h", "--no-plugins")
    with processes.Service(tmp_path / "log", "watch", "--db", url, *options) as watching:
        watching.said("watcher started")
        until(lambda: [row.task_flow_id for row in rows(db, flow_stat)] == [fresh])
        assert watching.terminate() == 0
    assert {row.task_flow_id for row in rows(db, task_stat)} == {fresh}


PRUNE = """
import sys
import time
from sqlalchemy import event
from sqlalchemy.engine import Engine
from engine import retention
from engine.database import open_database
db = open_database(sys.argv[1])
db.probe()
batches = []
@event.listens_for(Engine, "before_cursor_execute")
def stop_in_the_second_batch(connection, cursor, statement, *rest):
    if statement.startswith("DELETE FROM kr_flow_stat"):
        batches.append(statement)
        if len(batches) == 2:
            print("half", flush=True)
            time.sleep(60)
retention.prune(db, retention.Wanted(3600.0), batch=3, pause_s=0)
"""


def test_a_kill_in_the_middle_of_a_deletion_leaves_whole_flows(db: Database, url: str) -> None:
    """Killed after the tasks of its second batch are gone, and before the flows are."""
    ended_long_ago(db, 9)
    command = [sys.executable, "-c", PRUNE, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=processes.environment()) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "half\n"
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    until(lambda: {row.task_flow_id for row in rows(db, task_stat)} == {f"f{number:03}" for number in range(3, 9)})
    assert [row.task_flow_id for row in rows(db, flow_stat)] == [f"f{number:03}" for number in range(3, 9)]
    hold(db, at_rest=True)
