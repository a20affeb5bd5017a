"""What tries have logged can be read while they run, wherever they run, and is there once when they have ended."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from factories import by_hand, insert_task, rows, task
from patience import until
from waiting import attempts, settled
from watching import Watch

from engine import task_logs
from engine.claimed import ClaimedTask
from engine.database import Database
from engine.errors import DatabaseUnavailable
from engine.keys import Key
from engine.queries.tasks import read_logs
from engine.tables import task_log
from penstock import Call, program
from watcher import capture, masking
from watcher.executors.tail import HALF, Tail
from watcher.live_logs import REST, LiveLogs
from watcher.slots import Slot

pytestmark = pytest.mark.by_turns
on_sqlite = pytest.mark.parametrize("kind", ["sqlite"])
SECRET = "correct-horse-battery-staple"
QUICK = {"log_interval_s": 0.05}
PLUGIN = "battery_process"


class Gate:
    """Programs wait at it until the test opens it, once for each time that they come to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        os.mkfifo(self.path)

    def open(self) -> None:
        self.path.write_text("")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def said(db: Database, key: Key) -> str:
    """What the parts of the running try of a task come to, as a reader gets them."""
    with db.read() as conn:
        return "".join(log["text"] for log in read_logs(conn, *key) if log["outcome"] is None)


def put(db: Database, name: str, **columns: Any) -> Key:
    parameters = json.dumps(columns.pop("parameters", {}))
    return insert_task(db, "f", program=name, parameters=parameters, **columns)


@program("tells")
def tells(call: Call, gate: str) -> None:
    for word in ("first", "second"):
        call.logger.info(word)
        Path(gate).read_text()


@program("tells on the loop")
async def tells_on_the_loop(call: Call, gate: str) -> None:
    for word in ("first", "second"):
        call.logger.info(word)
        await asyncio.to_thread(Path(gate).read_text)


@pytest.mark.parametrize("name", ["tells", "tells on the loop", "prints there"])
def test_a_log_is_there_while_the_try_runs_and_once_afterwards(
    db: Database, watch: Watch, gate: Gate, name: str
) -> None:
    more = {"pieces": ["first\n", "second\n"]} if name == "prints there" else {}
    key = put(db, name, parameters={"gate": str(gate.path), **more})
    watch(tells, tells_on_the_loop, PLUGIN, **QUICK)
    until(lambda: "first" in said(db, key))
    gate.open()
    until(lambda: "second" in said(db, key))
    live = said(db, key)
    gate.open()
    settled(db, key)
    (tried,) = attempts(db, key)
    assert (tried.outcome, tried.log, live.count("first")) == ("finished", live.rstrip("\n"), 1)
    assert rows(db, task_log) == []


def test_half_a_secret_waits_for_the_other_half(
    db: Database, watch: Watch, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    pieces = [f"with {SECRET[:9]}", f"{SECRET[9:]} done, corr", "ected"]
    key = put(db, "prints there", parameters={"gate": str(gate.path), "pieces": pieces})
    watch(PLUGIN, **QUICK)
    until(lambda: said(db, key) == "with ")
    gate.open()
    until(lambda: said(db, key) == "with *** done, ")
    gate.open()
    until(lambda: said(db, key) == "with *** done, corrected")
    gate.open()
    settled(db, key)
    assert attempts(db, key)[0].log == "with *** done, corrected"


def test_a_flood_is_shown_within_bounds(db: Database, watch: Watch, gate: Gate) -> None:
    lines = "".join(f"line {number}\n" for number in range(20_000))
    key = put(db, "prints there", parameters={"gate": str(gate.path), "pieces": [lines, "last\n"], "times": 10})
    watch(PLUGIN, **QUICK)
    until(lambda: said(db, key).endswith("line 19999\n"))
    assert "left out" in said(db, key)
    assert max(len(row.text) for row in rows(db, task_log)) <= task_logs.MAX_PART + 100
    gate.open()
    until(lambda: said(db, key).endswith("last\n"))
    gate.open()
    settled(db, key)
    assert rows(db, task_log) == []


@on_sqlite
def test_short_tries_and_silent_ones_cost_nothing(
    db: Database, watch: Watch, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a part, nor a statement that takes parts away; and of one that runs, one part for what is new."""
    asked: list[str] = []
    for name in ("add", "drop", "take"):
        real = getattr(task_logs, name)
        monkeypatch.setattr(task_logs, name, lambda *a, name=name, real=real: (asked.append(name), real(*a))[1])

    @program
    def brief(call: Call) -> None:
        call.logger.info("done already")

    long = put(db, "tells", parameters={"gate": str(gate.path)})
    watching = watch(tells, brief, log_interval_s=0.2)
    until(lambda: asked == ["add"])
    keys = [insert_task(db, f"{n}", program="brief", wait_count=0) for n in range(20)]
    settled(db, *keys)
    due = watching.watcher._live_logs._due_at
    until(lambda: watching.watcher._live_logs._due_at > due + 0.45)  # two more intervals
    assert asked == ["add"]
    gate.open()
    until(lambda: asked == ["add", "add"])
    gate.open()
    settled(db, long)
    assert asked == ["add", "add", "drop"]


@on_sqlite
def test_with_an_interval_of_0_nothing_is_written_before_the_end(db: Database, watch: Watch, gate: Gate) -> None:
    key = put(db, "tells", parameters={"gate": str(gate.path)})
    watching = watch(tells, log_interval_s=0)
    until(lambda: watching.watcher._pool.slots)
    slot = next(iter(watching.watcher._pool.slots.values()))
    gate.open()
    until(lambda: slot.log is not None and "second" in (slot.log.text() or ""))
    assert rows(db, task_log) == []
    gate.open()
    settled(db, key)
    assert "first" in attempts(db, key)[0].log


@on_sqlite
@pytest.mark.parametrize("end", ["times out", "is cancelled", "is handed back"])
def test_nothing_is_left_however_a_try_ends(db: Database, watch: Watch, end: str) -> None:
    stuck = threading.Event()

    @program
    def hangs(call: Call) -> None:
        call.logger.info("so far")
        if end == "is cancelled":
            call.sleep(60)
        stuck.wait()

    key = put(db, "hangs", timeout_s=0.5 if end == "times out" else None)
    watching = watch(hangs, **QUICK, grace_s=0.05)
    until(lambda: "so far" in said(db, key) or end == "times out")
    if end == "is cancelled":
        by_hand(db, key, 9)
    if end == "is handed back":
        watching.stop()
    until(lambda: rows(db, task_log) == [] and attempts(db, key))
    stuck.set()
    (tried,) = attempts(db, key)
    outcomes = {"times out": "failed", "is cancelled": "stale", "is handed back": "released"}
    assert (tried.outcome, tried.log.count("so far")) == (outcomes[end], 1)
    assert task(db, key).exec_status == {"times out": 2, "is cancelled": 9, "is handed back": 0}[end]


@pytest.fixture
def slots(db: Database) -> dict[Any, Slot]:
    """Two tries that have run for long, and log what the tests give them."""
    made: dict[Any, Slot] = {}
    for name in "ab":
        facts = dict.fromkeys(ClaimedTask._fields)
        task = ClaimedTask(**{**facts, "key": Key(name, 1), "claim_id": "c"})  # type: ignore[arg-type]
        made[task.fence] = Slot(task, begun_at=0.0, log=capture.Transcript())
    return made


def write(live: LiveLogs) -> None:
    live._due_at = 0.0
    live.write_if_due(may_write=True)


@on_sqlite
def test_a_try_shows_so_much_and_no_more_while_it_runs(db: Database, slots: dict[Any, Slot]) -> None:
    live = LiveLogs(db, 1.0, slots)
    first, *_ = slots.values()
    assert first.log is not None
    for _ in range(40):
        for _ in range(10):
            first.log.add("x" * 5_000)
        write(live)
    texts = [row.text for row in rows(db, task_log)]
    assert task_logs.MAX_TRY - 100 < sum(map(len, texts)) <= task_logs.MAX_TRY
    assert texts[-1].endswith(REST)
    assert live.parted == {first.task.fence}


@on_sqlite
def test_a_try_that_has_just_begun_or_has_answered_shows_nothing(db: Database, slots: dict[Any, Slot]) -> None:
    young, answered = slots.values()
    young.begun_at = time.monotonic()
    answered.answered.acquire()
    for slot in (young, answered):
        assert slot.log is not None
        slot.log.add("said")
    live = LiveLogs(db, 60.0, slots)
    write(live)
    assert (rows(db, task_log), live.parted) == ([], set())
    young.begun_at -= 60.0
    write(live)
    assert [row.text for row in rows(db, task_log)] == ["said\n"]


@on_sqlite
def test_tries_that_say_much_take_turns(db: Database, slots: dict[Any, Slot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcher.live_logs.MAX_CHARS", 10)
    live = LiveLogs(db, 1.0, slots)
    for _ in range(4):
        for slot in slots.values():
            assert slot.log is not None
            slot.log.add("more than ten characters")
        write(live)
    assert [row.task_flow_id for row in rows(db, task_log)] == ["a", "b", "a", "b"]


@on_sqlite
def test_parts_wait_for_a_database_that_is_away(
    db: Database, slots: dict[Any, Slot], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveLogs(db, 1.0, slots)
    first, *_ = slots.values()
    assert first.log is not None
    with monkeypatch.context() as away:
        away.setattr(task_logs, "add", lambda *_: (_ for _ in ()).throw(DatabaseUnavailable("away")))
        for line in ("one", "two"):
            first.log.add(line)
            with pytest.raises(DatabaseUnavailable):
                write(live)
    write(live)
    write(live)
    assert [row.text for row in rows(db, task_log)] == ["one\n", "two\n"]


@pytest.fixture
def masker() -> Any:
    secrets = {SECRET, "staple-and-more", "correct-horse"}
    before = masking._masker
    masking._masker = masking.Masker(secrets)
    yield masking._masker
    masking._masker = before


def test_however_a_text_is_cut_no_half_of_a_secret_shows(masker: masking.Masker) -> None:
    chance = random.Random(7)
    whole = f"a {SECRET} b correct-horse-batter c {SECRET}{SECRET} correct-hor staple-and-mor staple-and-more corr"
    for _ in range(300):
        pieces, text, rest = masking.Pieces(), "", whole
        while rest:
            size = chance.randint(1, 12)
            text, rest = text + pieces.next(rest[:size]), rest[size:]
        assert text + pieces.last("") == masker.mask(whole)


def test_no_half_of_a_secret_shows_beside_what_is_left_out(masker: masking.Masker) -> None:
    """Neither before the gap nor behind it, in the parts and in the log that is kept."""
    half = len(SECRET) // 2
    tail = Tail()
    tail.add(b"x" * (HALF - half) + SECRET.encode() + b"y" * HALF)
    tail.add(b"y" * 2 * HALF)
    tail.add(b"y" * 100 + SECRET.encode() + b"z" * (HALF - half))
    for shown in (tail.part(), tail.text()):
        assert shown is not None
        assert "left out" in shown
        assert "xx\n" in shown
        assert SECRET[:4] not in shown
        assert SECRET[half + 1 :] not in shown


def test_parts_of_a_gigabyte_take_no_memory() -> None:
    tail, piece = Tail(), b"all work and no play\n" * 3_000
    shown = 0
    tracemalloc.start()
    for number in range(17_000):
        tail.add(piece)
        if number % 500 == 0:
            shown += len(tail.part() or "")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tail.part() is not None
    assert tail.part() is None
    assert 0 < shown < 34 * (task_logs.MAX_PART + 100)
    assert peak < 1_000_000


def test_a_character_that_two_parts_share_is_whole() -> None:
    tail = Tail()
    tail.add("ä".encode()[:1])
    assert tail.part() is None
    tail.add("ä".encode()[1:])
    assert tail.part() == "ä"
