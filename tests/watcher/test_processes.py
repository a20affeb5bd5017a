"""Programs in child processes: what crosses to them and back, what they see, and how they are ended."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest
from children import below, described
from factories import by_hand, define, insert_task, sql, start, task, tasks
from patience import until
from sqlalchemy import insert
from waiting import attempts, finished, settled, status
from watching import Watch

from engine.database import Database
from engine.keys import Key
from engine.states import Reason
from engine.tables import task_definition, task_option
from penstock import Call, program

pytestmark = pytest.mark.by_turns

PLUGIN = "battery_process"
on_sqlite = pytest.mark.parametrize("kind", ["sqlite"])
"""What does not depend on the database."""


def put(db: Database, name: str, flow_id: str = "hand", **columns: Any) -> Key:
    parameters = json.dumps(columns.pop("parameters", {}))
    return insert_task(db, flow_id, program=name, parameters=parameters, **columns)


def option(db: Database, task_seq: int = 1, **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id="w", task_seq=task_seq, **columns))


def test_a_child_gets_what_a_thread_gets(db: Database, watch: Watch) -> None:
    """Templates, mappings, parameters of the flow, results, upstream and logs are as in a thread."""
    with db.transaction() as conn:
        steps = [
            {"task_id": "w", "task_seq": 1, "program": "good", "param1_key": "n", "param1_value": "7"},
            {"task_id": "w", "task_seq": 2, "program": "reads", "param1_key": "day", "param1_value": "{{ params.D }}"},
        ]
        conn.execute(insert(task_definition), [{"param1_key": None, "param1_value": None, **step} for step in steps])
        mapping = {"seen": "result", "n": "results['1'].n"}
        conn.execute(
            insert(task_option).values(task_id="w", task_seq=2, name="last", output_mapping=json.dumps(mapping))
        )
    flow_id = start(db, parameters={"D": "monday"})
    watch(PLUGIN)
    finished(db, flow_id)
    row = tasks(db, flow_id)[1]
    kept = json.loads(row.result)
    first = json.loads(tasks(db, flow_id)[0].result)
    assert kept["n"] == 7
    assert kept["seen"] == {
        "day": "monday",
        "flow": {"D": "monday"},
        "results": {"1": first},
        "upstream": [first],
        "attempt": 1,
        "claim": row.claim_id,
        "fence": row.claims,
        "seq": 2,
        "program": "reads",
    }
    (tried,) = attempts(db, (flow_id, 2))
    logged, printed = tried.log.splitlines()
    assert logged.endswith("INFO from the logger")
    assert printed == "from print"


def test_every_outcome_crosses(db: Database, watch: Watch) -> None:
    names = ("fail", "again", "choose", "await", "plan", "bad plan")
    keys = {what: put(db, "answers there", what, parameters={"what": what}) for what in names}
    keys["nothing"] = put(db, "returns nothing there", "nothing")
    keys["parameters"] = put(db, "answers there", "parameters", parameters={"wat": 1})
    keys["coroutine"] = put(db, "coroutine there", "coroutine")
    watch(PLUGIN, workers=2)
    settled(db, *(key for what, key in keys.items() if what != "again"), seconds=40)
    until(lambda: task(db, keys["again"]).reason == Reason.AGAIN)
    found = {what: task(db, key) for what, key in keys.items()}
    assert (found["fail"].reason, found["fail"].error) == (Reason.FAILED, "no")
    assert found["again"].due_ts is not None
    assert (found["choose"].exec_status, found["choose"].result) == (3, "[1]")
    assert found["await"].result == '[["timer",false]]'
    assert (found["bad plan"].reason, found["nothing"].reason) == (Reason.BAD_RESULT, Reason.BAD_RESULT)
    assert "place 5" in found["bad plan"].error
    assert "returned None" in found["nothing"].error
    assert found["parameters"].reason == Reason.BAD_PARAMETERS
    assert "wat" in found["parameters"].error
    assert found["coroutine"].result == '"waited"'
    until(lambda: [row.exec_status for row in tasks(db, "plan")] == [3, 3, 3])
    assert tasks(db, "plan")[2].executor == "process"


@on_sqlite
def test_a_child_sees_nothing_of_the_database(db: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "PENSTOCK_DB": "postgresql+psycopg://u:canary@h/d",
        "DB_PASS": "canary",
        "AWS_SECRET_ACCESS_KEY": "canary",
        "GITHUB_TOKEN": "canary",
        "SOME_URL": "mysql://u:canary@h/d",
    }
    for name, value in {**secrets, "HARMLESS": "yes", "MY_API_KEY": "wanted"}.items():
        monkeypatch.setenv(name, value)
    key = put(db, "looks around")
    watch(PLUGIN, child_env=("MY_API_KEY",))
    settled(db, key)
    row = task(db, key)
    assert row.exec_status == 3, row.error
    found = json.loads(row.result)
    assert "canary" not in row.result
    assert found["environment"]["HARMLESS"] == "yes"
    assert found["environment"]["MY_API_KEY"] == "wanted"
    assert {"PATH", "HOME"} & os.environ.keys() <= found["environment"].keys()
    assert found["modules"] == [], "no database driver is even imported"
    assert found["argv"] == ["penstock-child"]
    assert (found["no_new_privs"], found["session"]) == ("1", True)
    assert found["oom"] >= 500
    opened = {fd: place for fd, place in found["fds"].items() if not place.startswith("pipe:")}
    assert [place for place in opened.values() if "socket" in place or ".db" in place] == []
    assert opened.pop("0") == "/dev/null"


@on_sqlite
def test_children_stay_warm_and_are_replaced_in_time(db: Database, watch: Watch) -> None:
    keys = [put(db, "looks around", f"{n}") for n in range(7)]
    watching = watch(PLUGIN, workers=1, child_tasks=3)
    settled(db, *keys)
    pids = [json.loads(task(db, key).result)["pid"] for key in keys]
    assert sorted(pids.count(pid) for pid in set(pids)) == [1, 3, 3]
    assert watching.watcher._dispatch.children.started == 3


def test_a_crash_is_noticed_at_once_and_tried_again_by_the_rule(db: Database, watch: Watch) -> None:
    define(db, program="misbehaves", param1_key="how", param1_value="kill -9")
    option(db, max_attempts=2, retry_delay_s=0)
    watch(PLUGIN)
    warm = put(db, "good", "warm", parameters={"n": 1})
    settled(db, warm)
    begun = time.monotonic()
    key = Key(start(db), 1)
    settled(db, key)
    assert time.monotonic() - begun < 10
    row = task(db, key)
    assert (row.reason, row.attempt, row.losses) == (Reason.FAILED, 2, 0)
    assert [(tried.outcome, tried.error) for tried in attempts(db, key)] == [
        ("failed", "process killed by signal 9 (SIGKILL, memory limit?)")
    ] * 2


@on_sqlite
def test_a_child_that_dies_while_idle_harms_no_task(db: Database, watch: Watch) -> None:
    first = put(db, "looks around", "first")
    watch(PLUGIN, workers=1)
    settled(db, first)
    pid = json.loads(task(db, first).result)["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in below())
    time.sleep(0.3)
    second = put(db, "looks around", "second")
    settled(db, second)
    assert status(db, second) == 3
    assert json.loads(task(db, second).result)["pid"] != pid


def begun(db: Database, key: Key) -> None:
    until(lambda: status(db, key) == 1)
    until(lambda: any("start_child" in words for words in described(below()).values()))
    time.sleep(0.5)


@pytest.mark.parametrize("how", ["sleep", "ignore SIGTERM", "hold the interpreter"])
@on_sqlite
def test_a_cancelled_task_is_ended(db: Database, watch: Watch, how: str) -> None:
    before = below()
    key = put(db, "misbehaves", parameters={"how": how})
    watching = watch(PLUGIN, workers=1)
    begun(db, key)
    by_hand(db, key, 9)
    until(lambda: not watching.watcher._pool.slots, seconds=30)
    until(lambda: described(below() - before) == {})
    after = put(db, "good", "after", parameters={"n": 1})
    settled(db, after)
    assert status(db, after) == 3, "its worker is free again"


@pytest.mark.parametrize("name, parameters", [("sleeps there", {}), ("misbehaves", {"how": "ignore SIGTERM"})])
@on_sqlite
def test_a_stop_hands_back_and_leaves_nothing(db: Database, watch: Watch, name: str, parameters: Any) -> None:
    before = below()
    key = put(db, name, parameters=parameters)
    watching = watch(PLUGIN, grace_s=0.2)
    begun(db, key)
    watching.stop()
    row = task(db, key)
    assert (row.exec_status, row.attempt, row.reason) == (0, 0, "released")
    assert described(below() - before) == {}


@on_sqlite
def test_children_die_with_a_watcher_that_is_killed(db: Database, url: str, tmp_path: Any) -> None:
    """The keeper sees the end of its socket, and what the program started goes with it."""
    import subprocess
    import sys
    from pathlib import Path

    key = put(db, "misbehaves", parameters={"how": "sleep"})
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from engine.database import open_database\n"
        "from programs.catalogue import build_catalogue\n"
        "from watcher.loop import Watcher\n"
        "from watcher.settings import Settings\n"
        "db = open_database(sys.argv[1], role='watcher')\n"
        "catalogue = build_catalogue(extra=['battery_process'], autoload=False)\n"
        "Watcher(db, catalogue, Settings(workers=1, interval_s=0.1)).run()\n"
    )
    here = str(Path(__file__).parent)
    path = os.pathsep.join([str(Path(__file__).parents[2]), here])
    process = subprocess.Popen(
        [sys.executable, "-c", script, url, here], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: status(db, key) == 1)
        until(lambda: any("start_child" in words for words in described(below(process.pid)).values()))
        time.sleep(0.5)
        family = below(process.pid)
        assert len(family) == 3, described(family)  # its heartbeat, the keeper, and the child
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: described(family) == {})


@on_sqlite
def test_a_task_lost_twice_runs_next_in_a_process_of_its_own(db: Database, watch: Watch) -> None:
    """What kills its watcher must not kill it again, and is found out."""
    where: list[int] = []

    @program
    def object_here(call: Call) -> None:
        where.append(os.getpid())

    killer = put(db, "misbehaves in a thread", "killer", parameters={"how": "exit 3"}, losses=2, wait_count=0)
    harmless = put(db, "misbehaves in a thread", "harmless", parameters={"how": "binary"}, losses=1, wait_count=0)
    unable = put(db, "object_here", "unable", losses=5, wait_count=0)
    watch(PLUGIN, object_here)
    settled(db, killer, harmless, unable)
    row = task(db, killer)
    assert (row.reason, row.error, row.losses) == (Reason.FAILED, "process exited with 3", 2)
    assert (status(db, harmless), where) == (3, [os.getpid()])


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown": ("Noop", {"executor": "dask"}, "executor 'dask' is none of thread, async, process"),
    "sync on the loop": ("Noop", {"executor": "async"}, "needs a program that is `async def`"),
    "exclusive thread": ("Noop", {"executor": "thread", "is_exclusive": True}, "needs the executor process"),
    "exclusive by default": ("Noop", {"is_exclusive": True}, "program Noop runs in thread"),
    "an object": ("here", {"executor": "process"}, "was handed to the watcher as an object"),
}


def test_a_row_that_asks_for_what_cannot_be_is_refused(db: Database, watch: Watch) -> None:
    @program
    def here() -> None:
        pass

    keys = {what: put(db, name, what, **columns) for what, (name, columns, _) in REFUSED.items()}
    good = put(db, "Noop", "good", executor="process", is_exclusive=True)
    watch(here)
    settled(db, good, *keys.values())
    for what, key in keys.items():
        row = task(db, key)
        assert (row.exec_status, row.reason) == (2, Reason.BAD_ROW), what
        assert REFUSED[what][2] in row.error
        assert "set exec" in row.error
    assert status(db, good) == 3
    mended = keys["exclusive by default"]
    sql(db, "UPDATE kr_task_stat SET executor = 'process', exec_status = 0 WHERE task_flow_id = :f", f=mended.flow_id)
    settled(db, mended)
    assert status(db, mended) == 3


@on_sqlite
def test_a_plugin_that_a_child_cannot_load_fails_the_try_and_says_why(
    db: Database, watch: Watch, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fragile.py").write_text(
        "import os\nfrom penstock import hookimpl, program\n"
        "if 'FRAGILE' not in os.environ: raise ValueError('not in this place')\n"
        "@program('fragile', executor='process')\ndef fragile() -> None: ...\n"
        "@hookimpl\ndef penstock_programs(): return [fragile]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FRAGILE", "1")
    key = put(db, "fragile")
    from watcher.executors import environment

    monkeypatch.setattr(environment, "_OWN", __import__("re").compile("FRAGILE"))
    watching = watch("fragile")
    settled(db, key)
    row = task(db, key)
    assert row.reason == Reason.FAILED
    assert row.error == "cannot start a child process: ValueError: not in this place"
    assert watching.lives
