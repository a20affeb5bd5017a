"""What becomes of everything that a program can do: a settlement, and a watcher that lives on."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from battery import PROGRAMS
from factories import define, insert_task, start, task
from patience import until
from sqlalchemy import insert
from waiting import attempts, finished, settled, status
from watching import Watch

from engine.database import Database
from engine.keys import Key
from engine.tables import task_definition, task_option
from penstock import Again, Call, Fail, Finish, Outcome, program
from watcher import capture

pytestmark = pytest.mark.by_turns

SUSPENDED = {
    # name of the case: (program, parameters, reason, words of the error)
    "unknown": ("Nope", {}, "unknown program", "'Nope'"),
    "dotted": ("os.system", {}, "unknown program", "'os.system'"),
    "import": ("__import__('os')", {}, "unknown program", "__import__"),
    "broken": ("adds", '{"a":', "bad parameters", "not JSON"),
    "array": ("adds", "[1]", "bad parameters", "array"),
    "scalar": ("adds", "3", "bad parameters", "number"),
    "twice": ("adds", '{"a": 1, "a": 2}', "bad parameters", "twice"),
    "undeclared": ("Noop", {"n": 3}, "bad parameters", "n"),
    "missing": ("adds", {}, "bad parameters", "a"),
    "mistyped": ("adds", {"a": "x"}, "bad parameters", "a"),
    "ValueError": ("raises", {"what": "ValueError"}, "failed", "ValueError: boom"),
    "SystemExit": ("raises", {"what": "SystemExit"}, "failed", "SystemExit: 7"),
    "KeyboardInterrupt": ("raises", {"what": "KeyboardInterrupt"}, "failed", "KeyboardInterrupt"),
    "GeneratorExit": ("raises", {"what": "GeneratorExit"}, "failed", "GeneratorExit"),
    "Own": ("raises", {"what": "Own"}, "failed", "Own: mine"),
    "Silent": ("raises", {"what": "Silent"}, "failed", "cannot be shown"),
    "Loud": ("raises", {"what": "Loud"}, "failed", "cannot be shown"),
    "error surrogate": ("raises", {"what": "surrogate"}, "failed", "half ? a character, and ␀"),
    "error long": ("raises", {"what": "long"}, "failed", "characters left out"),
    "error empty": ("raises", {"what": "empty"}, "failed", "ValueError"),
    "fail": ("fails", {}, "failed", "half ? a character, and ␀"),
    "async": ("async_raises", {}, "failed", "from a coroutine"),
    "object": ("returns", {"what": "object"}, "bad result", "not JSON"),
    "set": ("returns", {"what": "set"}, "bad result", "not JSON"),
    "bytes": ("returns", {"what": "bytes"}, "bad result", "not JSON"),
    "NaN": ("returns", {"what": "NaN"}, "bad result", "not JSON"),
    "surrogate": ("returns", {"what": "surrogate"}, "bad result", "not JSON"),
    "circle": ("returns", {"what": "circle"}, "bad result", "not JSON"),
    "deep": ("returns", {"what": "deep"}, "bad result", "deep"),
    "big": ("returns", {"what": "big"}, "bad result", "2,000,002 bytes"),
    "None": ("answers", {"what": "None"}, "bad result", "returned None"),
    "class": ("answers", {"what": "class"}, "bad result", "the class Finish"),
    "text": ("answers", {"what": "text"}, "bad result", "returned str"),
    "dict": ("answers", {"what": "dict"}, "bad result", "returned dict"),
    "again negative": ("again_with", {"what": "negative"}, "failed", "0 or more"),
    "again text": ("again_with", {"what": "text"}, "failed", "seconds"),
    "again naive": ("again_with", {"what": "naive"}, "failed", "time zone"),
}
FINISHED: dict[str, tuple[str, Any, Any]] = {
    "adds": ("adds", {"a": 2}, 3),
    "text for a number": ("adds", {"a": "2", "b": "3"}, 5),
    "NUL": ("returns", {"what": "NUL"}, "a\x00b"),
    "unicode": ("returns", {"what": "text"}, "grüße 🎉 ' \" \\ %s :x"),
    "number": ("returns", {"what": "number"}, 12.5),
    "zero": ("returns", {"what": "zero"}, 0),
    "false": ("returns", {"what": "false"}, False),
    "nothing": ("returns", {"what": "nothing"}, None),
    "coroutine": ("waits", {}, "waited"),
    "again in the past": ("again_past", {}, "back"),
}


def insert_all(db: Database, cases: dict[str, tuple[Any, ...]]) -> None:
    for name, (program_name, parameters, *_) in cases.items():
        text = parameters if isinstance(parameters, str) else json.dumps(parameters)
        insert_task(db, name, program=program_name, parameters=text)


def test_what_goes_wrong_suspends_its_own_task_and_nothing_else(db: Database, watch: Watch) -> None:
    insert_all(db, SUSPENDED)
    watching = watch(*PROGRAMS)
    settled(db, *((name, 1) for name in SUSPENDED))
    wrong = {}
    for name, (*_, reason, words) in SUSPENDED.items():
        row = task(db, (name, 1))
        if (row.exec_status, row.reason) != (2, reason) or words not in row.error or row.suspended_ts is None:
            wrong[name] = (row.exec_status, row.reason, row.error)
    assert wrong == {}
    assert max(len(task(db, (name, 1)).error) for name in SUSPENDED) < 5_000
    insert_task(db, "after", program="adds", parameters='{"a": 1}')
    settled(db, ("after", 1))
    assert status(db, ("after", 1)) == 3
    assert watching.lives
    assert len(watching.watcher._pool.slots) == 0


def test_what_goes_well_keeps_its_result(db: Database, watch: Watch) -> None:
    insert_all(db, FINISHED)
    watch(*PROGRAMS)
    settled(db, *((name, 1) for name in FINISHED))
    found = {name: task(db, (name, 1)) for name in FINISHED}
    assert {name: (row.exec_status, row.error) for name, row in found.items()} == dict.fromkeys(FINISHED, (3, None))
    results = {name: None if row.result is None else json.loads(row.result) for name, row in found.items()}
    assert results == {name: result for name, (*_, result) in FINISHED.items()}


def test_a_time_beyond_the_calendar_waits_and_does_no_harm(db: Database, watch: Watch) -> None:
    names = ("last", "endless", "far")
    for name in names:
        insert_task(db, name, program="again_with", parameters=json.dumps({"what": name}))
    insert_task(db, "good", program="Noop")
    watching = watch(*PROGRAMS)
    settled(db, ("good", 1))
    for name in names:
        until(lambda name=name: task(db, (name, 1)).reason == "again")
        row = task(db, (name, 1))
        assert (row.exec_status, row.attempt) == (0, 0)
        assert row.due_ts > datetime.now(UTC) + timedelta(days=365 * 99)
    assert watching.lives


def test_traceback_and_log_are_kept_with_the_attempt(db: Database, watch: Watch) -> None:
    raising = insert_task(db, "raising", program="raises", parameters='{"what": "ValueError"}')
    talking = insert_task(db, "talking", program="talks", parameters='{"lines": 3}')
    mumbling = insert_task(db, "mumbling", program="mumbles")
    coroutine = insert_task(db, "coroutine", program="waits")
    silent = insert_task(db, "silent", program="adds", parameters='{"a": 1}')
    watching = watch(*PROGRAMS)
    settled(db, raising, talking, mumbling, coroutine, silent)

    (failed,) = attempts(db, raising)
    assert (failed.outcome, failed.accepted, failed.claim_no, failed.watcher_id) == ("failed", True, 1, watching.id)
    assert failed.error == "ValueError: boom"
    assert "in raises" in failed.traceback
    assert failed.traceback.rstrip().endswith("ValueError: boom")
    assert failed.claimed_ts <= failed.ended_ts

    (talked,) = attempts(db, talking)
    assert [line.split(" INFO ")[1] for line in talked.log.splitlines()] == ["line 0", "line 1", "line 2"]
    assert (talked.outcome, talked.accepted, talked.error, talked.traceback) == ("finished", True, None, None)

    (mumbled,) = attempts(db, mumbling)
    lines = mumbled.log.splitlines()
    assert "half ? a character, and ␀" in lines[0]
    assert len(lines[1]) < 10_000
    assert "characters left out" in lines[1]
    assert "from elsewhere" in lines[2]

    assert "from a coroutine" in attempts(db, coroutine)[-1].log
    assert attempts(db, silent) == []


def test_a_log_call_whose_arguments_do_not_fit_is_kept_as_it_stands() -> None:
    capture.install()
    kept = capture.Transcript()
    with capture.speaking(kept):
        for record in (("%d of %d", (1,)), ("plain", ())):
            capture._handler.handle(logging.LogRecord("x", logging.INFO, "", 1, *record, None))
    first, second = (kept.text() or "").splitlines()
    assert "'%d of %d'" in first
    assert second.endswith("INFO plain")


def test_a_flood_of_log_lines_keeps_its_head_and_its_tail(db: Database, watch: Watch) -> None:
    key = insert_task(db, "flood", program="talks", parameters=json.dumps({"lines": 20_000, "what": "x" * 50}))
    watch(*PROGRAMS)
    settled(db, key)
    (kept,) = attempts(db, key)
    lines = kept.log.splitlines()
    assert len(kept.log) < 150_000
    assert lines[0].endswith("x 0")
    assert lines[-1].endswith("x 19999")
    left_out = next(line for line in lines if "left out" in line)
    assert int(left_out.split()[1].replace(",", "")) + len(lines) - 1 == 20_000


def test_again_gives_the_slot_to_others_and_is_not_charged(db: Database, watch: Watch) -> None:
    order: list[str] = []

    @program
    def poke(call: Call) -> Outcome:
        order.append("poke")
        return Finish(call.attempt) if order.count("poke") == 3 else Again(after=0.4)

    @program
    def other() -> None:
        order.append("other")

    key = insert_task(db, "poking", program="poke")
    watch(poke, other, workers=1)
    until(lambda: order)
    others = [insert_task(db, f"other {number}", program="other") for number in range(3)]
    settled(db, *others, key)
    assert order[0] == order[-1] == "poke"
    assert order.count("poke") == 3
    row = task(db, key)
    assert (row.exec_status, row.result, row.attempt, row.claims) == (3, "1", 1, 3)
    assert row.due_ts is None
    assert [(item.outcome, item.accepted) for item in attempts(db, key)] == [("again", False), ("again", False)]


def test_again_at_a_time(db: Database, watch: Watch) -> None:
    began: list[datetime] = []

    @program
    def once_more() -> Outcome:
        began.append(datetime.now(UTC))
        return Finish() if len(began) > 1 else Again(at=began[0] + timedelta(seconds=0.5))

    key = insert_task(db, program="once_more")
    watch(once_more, interval_s=30)
    settled(db, key)
    assert status(db, key) == 3
    waited = (began[1] - began[0]).total_seconds()
    assert 0.49 < waited < 10, "long before the next look of an idle watcher"


def test_results_of_earlier_tasks_can_be_read(db: Database, watch: Watch) -> None:
    @program
    def first() -> Any:
        return {"x": [1, 2]}

    @program
    def last(call: Call) -> Any:
        return {"seqs": sorted(call.results), "x": call.results[1]["x"], "none": call.results.get(2)}

    with db.transaction() as conn:
        steps = enumerate(("first", "Noop", "last"), start=1)
        rows = [{"task_id": "w", "task_seq": seq, "program": name} for seq, name in steps]
        conn.execute(insert(task_definition), rows)
    flow_id = start(db)
    watch(first, last)
    finished(db, flow_id)
    assert json.loads(task(db, Key(flow_id, 3)).result) == {"seqs": [1], "x": [1, 2], "none": None}


def test_parameters_of_the_flow_fill_what_a_program_declares(db: Database, watch: Watch) -> None:
    seen: list[dict[str, Any]] = []

    @program
    def shows(call: Call, DAY: str, n: int, left: str = "default") -> None:
        seen.append({"DAY": DAY, "n": n, "left": left, "flow": dict(call.flow_parameters)})

    given = {"param1_key": "n", "param1_value": "7"}
    define(db, "shows", program="shows", **given)
    flow_ids = [
        start(db, "shows", parameters={"DAY": "monday", "undeclared": 1}),
        start(db, "shows", parameters={"DAY": "friday", "n": 8}),
    ]
    watch(shows, workers=1)
    finished(db, *flow_ids)
    assert {"DAY": "monday", "n": 7, "left": "default", "flow": {"DAY": "monday", "undeclared": 1}} in seen
    assert {"DAY": "friday", "n": 8, "left": "default", "flow": {"DAY": "friday", "n": 8}} in seen

    late = start(db, "shows", parameters={"DAY": "sunday"})  # the row's own win over the flow's
    key = insert_task(db, late, 2, program="shows", parameters='{"DAY": "own", "n": 1}', depends_task_exec_seq=-1)
    settled(db, key)
    assert any(item["DAY"] == "own" and item["flow"] == {"DAY": "sunday"} for item in seen)


def test_a_missing_flow_parameter_suspends_and_names_it(db: Database, watch: Watch) -> None:
    define(db, "adds", program="adds")
    flow_id = start(db, "adds", parameters={"b": 1})
    watch(*PROGRAMS)
    settled(db, (flow_id, 1))
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.reason) == (2, "bad parameters")
    assert "a" in row.error


def test_programs_run_side_by_side(db: Database, watch: Watch) -> None:
    barrier = threading.Barrier(4)

    @program
    def meet() -> None:
        barrier.wait(10)

    keys = [insert_task(db, f"flow {number}", program="meet") for number in range(4)]
    watch(meet, workers=4)
    settled(db, *keys)
    assert [status(db, key) for key in keys] == [3] * 4


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_slot_is_free_again_after_each_misbehaviour(db: Database, watch: Watch) -> None:
    """One worker, a hundred bad programs, and then a good one."""
    for number in range(100):
        what = ("Loud", "SystemExit", "Own", "KeyboardInterrupt")[number % 4]
        insert_task(db, f"bad {number:03}", program="raises", parameters=json.dumps({"what": what}))
    key = insert_task(db, "good", program="adds", parameters='{"a": 1}', task_priority=19)
    watch(*PROGRAMS, workers=1)
    begun = time.monotonic()
    settled(db, key)
    assert status(db, key) == 3
    assert time.monotonic() - begun < 20


@program("final")
def final() -> Outcome:
    return Fail("another try would fail too", retry=False)


def retried(db: Database, watch: Watch, name: str, parameters: dict[str, Any]) -> Any:
    """A task of two tries, without a pause between them, run until it is suspended."""
    with db.transaction() as conn:
        conn.execute(insert(task_definition).values(task_id="twice", task_seq=1, program=name))
        conn.execute(insert(task_option).values(task_id="twice", task_seq=1, max_attempts=2, retry_delay_s=0))
    key = Key(start(db, "twice", parameters=parameters), 1)
    watch(*PROGRAMS, final)
    until(lambda: status(db, key) == 2)
    return task(db, key)


@pytest.mark.parametrize("name, parameters", [("raises", {"what": "ValueError"}), ("fails", {})])
def test_what_fails_is_tried_as_often_as_the_row_says(
    db: Database, watch: Watch, name: str, parameters: dict[str, Any]
) -> None:
    row = retried(db, watch, name, parameters)
    assert (row.reason, row.attempt, row.claims) == ("failed", 2, 2)
    tried = attempts(db, (row.task_flow_id, 1))
    assert [(item.outcome, item.accepted) for item in tried] == [("failed", False), ("failed", True)]


@pytest.mark.parametrize(
    "name, parameters, reason",
    [("final", {}, "failed"), ("Nope", {}, "unknown program"), ("returns", {"what": "object"}, "bad result")],
)
def test_what_would_fail_again_in_the_same_way_is_not_tried_again(
    db: Database, watch: Watch, name: str, parameters: dict[str, Any], reason: str
) -> None:
    row = retried(db, watch, name, parameters)
    assert (row.reason, row.attempt, row.claims) == (reason, 1, 1)
