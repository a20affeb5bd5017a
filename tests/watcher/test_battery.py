"""Thirty programs that do their worst in child processes, all of them beside healthy neighbours in one watcher."""

from __future__ import annotations

import json
import os
import resource
from typing import Any

import pytest
from children import below, described
from factories import insert_task, task
from waiting import attempts, settled
from watching import Watch

from engine.database import Database
from engine.states import Reason

FAILED, TIMED_OUT, BAD_RESULT = Reason.FAILED, Reason.TIMED_OUT, Reason.BAD_RESULT
BACK = (3, None, "came back")
LATE = (2, TIMED_OUT, "it did not end within 1 seconds")
EXPECTED: dict[str, tuple[int, str | None, str]] = {
    # how: (exec_status, reason, words of the error or of the result)
    "exit 0": (2, FAILED, "process exited with 0"),
    "exit 3": (2, FAILED, "process exited with 3"),
    "abort": (2, FAILED, "process killed by signal 6 (SIGABRT)"),
    "segfault": (2, FAILED, "process killed by signal 11 (SIGSEGV)"),
    "illegal instruction": (2, FAILED, "process killed by signal 4 (SIGILL)"),
    "kill -9": (2, FAILED, "process killed by signal 9 (SIGKILL, memory limit?)"),
    "signal": (2, FAILED, "process killed by signal 10 (SIGUSR1)"),
    "memory hog": (2, FAILED, "MemoryError"),
    "fork bomb": (2, FAILED, "too many processes"),
    "sleep": LATE,
    "hold the interpreter": LATE,
    "stop": LATE,
    "ignore SIGTERM": LATE,
    "swallow": LATE,
    "daemonise": BACK,
    "grandchildren": BACK,
    "gigabyte": BACK,
    "long line": BACK,
    "binary": BACK,
    "leak descriptors": BACK,
    "leak threads": BACK,
    "leak memory": BACK,
    "close all": (2, FAILED, "the process closed its pipe to the watcher"),
    "write everywhere": (2, FAILED, "the process sent a frame"),
    "huge frame": (2, BAD_RESULT, "a frame of 943,718,400 bytes"),
    "change the process": BACK,
    "monkeypatch": BACK,
    "recursion": (2, FAILED, "RecursionError"),
    "deep recursion": (2, FAILED, "process killed by signal 11 (SIGSEGV)"),
    "atexit": BACK,
    "temporary directory": BACK,
    "kill the keeper": (2, FAILED, "the process is gone, and its keeper did not say how"),
    "SystemExit": (2, FAILED, "SystemExit: in the middle"),
}
RAISED = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "Own", "Silent", "Loud", "surrogate", "long", "empty")
RETURNED: dict[str, tuple[int, str | None, str]] = {
    "object": (2, BAD_RESULT, "not JSON"),
    "NaN": (2, BAD_RESULT, "not JSON"),
    "surrogate": (2, BAD_RESULT, "not JSON"),
    "circle": (2, BAD_RESULT, "not JSON"),
    "deep": (2, BAD_RESULT, "deep"),
    "100 MB": (2, BAD_RESULT, "100,000,002 bytes of JSON"),
    "NUL": (3, None, "a\x00b"),
    "text": (3, None, "grüße 🎉"),
}
LIMITED = {"sleep", "hold the interpreter", "stop", "ignore SIGTERM", "swallow"}
QUICK = {"exit 3", "segfault", "kill -9", "sleep", "daemonise", "monkeypatch"}
"""What runs on every database; the others do not depend on it."""


def put(db: Database, how: str) -> Any:
    limit = {"timeout_s": 1.0} if how in LIMITED else {}
    return insert_task(db, how, program="misbehaves", parameters=json.dumps({"how": how}), task_priority=-1, **limit)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.by_turns
def test_the_battery_beside_healthy_neighbours(db: Database, watch: Watch, kind: str) -> None:
    deeds = [how for how in EXPECTED if kind == "sqlite" or how in QUICK]
    keys = {how: put(db, how) for how in deeds}
    count = 60 if kind == "sqlite" else 12
    neighbours = [
        insert_task(db, f"good {n:03}", program="good", parameters=json.dumps({"n": n})) for n in range(count)
    ]
    memory, before = _resident(), below()
    watching = watch("battery_process", workers=6, child_memory_mb=1200, child_max_rss_mb=256)
    settled(db, *keys.values(), *neighbours, seconds=240)
    assert wrong(db, keys, EXPECTED) == {}
    for n, key in enumerate(neighbours):
        row = task(db, key)
        assert row.exec_status == 3, (row.reason, row.error)
        found = json.loads(row.result)
        assert found == {"n": n, "cwd": os.getcwd(), "left": False, "json": [1], "kept": 0}
    assert watching.lives
    assert _resident() - memory < 120 * 1024 * 1024, "what programs print and return takes no memory here"
    if kind == "sqlite":
        logs(db, keys)
    watching.stop()
    left = below() - before
    assert described(left) == {}, "nothing is left"


def wrong(db: Database, keys: dict[str, Any], expected: dict[str, tuple[int, str | None, str]]) -> dict[str, Any]:
    """What did not end as it should."""
    found: dict[str, Any] = {}
    for name, key in keys.items():
        row, (status, reason, words) = task(db, key), expected[name]
        said = (json.loads(row.result) if row.result is not None else row.error) or ""
        if (row.exec_status, row.reason) != (status, reason) or words not in said:
            found[name] = (row.exec_status, row.reason, said[:300])
    return found


def logs(db: Database, keys: dict[str, Any]) -> None:
    """What was printed is kept within bounds, and a crash leaves its stack."""
    # the last try: one that had waited too long for a worker was handed back before
    found = {how: attempts(db, key)[-1].log for how, key in keys.items() if attempts(db, key)}
    for how in ("gigabyte", "long line"):
        assert len(found[how]) < 70_000, how
        assert "bytes left out" in found[how], how
    assert "red" in found["binary"]
    assert "\x00" not in found["binary"]
    assert "Segmentation fault" in found["segfault"]
    assert "_null_read" in found["segfault"]


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("kind", ["sqlite"])
def test_whatever_it_raises_or_returns(db: Database, watch: Watch) -> None:
    raised = {
        what: insert_task(db, f"raised {what}", program="raises there", parameters=json.dumps({"what": what}))
        for what in RAISED
    }
    returned = {
        what: insert_task(db, f"returned {what}", program="returns there", parameters=json.dumps({"what": what}))
        for what in RETURNED
    }
    watching = watch("battery_process", workers=2)
    settled(db, *raised.values(), *returned.values(), seconds=60)
    words = {
        "SystemExit": "SystemExit: 7",
        "Own": "Own: mine",
        "Silent": "cannot be shown",
        "Loud": "cannot be shown",
        "surrogate": "half ? a character, and ␀",
        "long": "characters left out",
    }
    assert wrong(db, raised, {what: (2, FAILED, words.get(what, what.strip("empty"))) for what in RAISED}) == {}
    assert wrong(db, returned, RETURNED) == {}
    trace = attempts(db, raised["Own"])[-1].traceback
    assert "in raises_there" in trace
    assert watching.watcher._dispatch.children.started <= 2, "none of this costs a process"
