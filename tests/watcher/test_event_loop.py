"""Programs on the watcher's event loop: thousands wait at once, and each can be cancelled."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from factories import by_hand, insert_task, task
from patience import until
from waiting import attempts, settled, status
from watching import Watch

from engine.database import Database
from engine.states import Reason
from penstock import Call, program

pytestmark = pytest.mark.by_turns

on_sqlite = pytest.mark.parametrize("kind", ["sqlite"])


@on_sqlite
def test_thousands_wait_at_once_beside_few_workers(db: Database, watch: Watch) -> None:
    together = 0
    gate = threading.Event()

    @program
    async def parked() -> None:
        nonlocal together
        together += 1
        while not gate.is_set():
            await asyncio.sleep(1)

    keys = [insert_task(db, f"{n:04}", program="parked", wait_count=0) for n in range(1_000)]
    watching = watch(parked, workers=2, async_slots=1_500)
    until(lambda: together == len(keys), seconds=60)
    quick = insert_task(db, "quick", program="Noop", wait_count=0)
    settled(db, quick)
    assert watching.watcher._dispatch.waiting == len(keys), "they hold no worker"
    gate.set()
    settled(db, *keys, seconds=60)
    assert {status(db, key) for key in keys} == {3}
    assert watching.watcher._dispatch.waiting == 0


@on_sqlite
def test_beyond_the_slots_no_more_are_claimed(db: Database, watch: Watch) -> None:
    began: list[str] = []
    gate = threading.Event()

    @program
    async def parked(call: Call) -> None:
        began.append(call.flow_id)
        while not gate.is_set():
            await asyncio.sleep(0.02)

    keys = [insert_task(db, f"{n}", program="parked", wait_count=0) for n in range(12)]
    watching = watch(parked, workers=2, async_slots=3)
    until(lambda: len(began) == 5)
    time.sleep(0.5)
    assert len(began) == 5, "three on the loop, and two in the places of workers"
    gate.set()
    settled(db, *keys)
    assert watching.lives


def test_a_time_out_cancels(db: Database, watch: Watch) -> None:
    cancelled = threading.Event()

    @program
    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    key = insert_task(db, program="waits", timeout_s=0.3)
    watching = watch(waits, workers=1)
    settled(db, key)
    row = task(db, key)
    assert (row.reason, row.error) == (Reason.TIMED_OUT, "it did not end within 0.3 seconds")
    assert cancelled.wait(10)
    until(lambda: watching.watcher._pool._stuck == 0)


@on_sqlite
def test_a_cancelled_task_and_a_stop_cancel(db: Database, watch: Watch) -> None:
    ended: list[str] = []

    @program
    async def waits(call: Call) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(call.flow_id)

    ignored = insert_task(db, "ignored", program="waits")
    released = insert_task(db, "released", program="waits")
    watching = watch(waits, grace_s=0.2)
    until(lambda: watching.watcher._dispatch.waiting == 2)
    by_hand(db, ignored, 9)
    until(lambda: ended == ["ignored"])
    watching.stop()
    assert ended == ["ignored", "released"]
    row = task(db, released)
    assert (row.exec_status, row.attempt, row.reason) == (0, 0, "released")


@on_sqlite
def test_what_goes_wrong_there_harms_its_own_task(db: Database, watch: Watch) -> None:
    @program
    async def raises(what: str) -> None:
        await asyncio.sleep(0)
        raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "cancelled": asyncio.CancelledError()}[what]

    @program
    async def leaves_a_task_that_exits(call: Call) -> str:
        async def leave() -> None:
            raise SystemExit(5)

        call.logger.info("from the loop")
        call.stop.made = asyncio.get_running_loop().create_task(leave())  # type: ignore[attr-defined]
        await asyncio.sleep(0.2)
        return "lived on"

    keys = {
        what: insert_task(db, what, program="raises", parameters=json.dumps({"what": what}))
        for what in ("exit", "interrupt", "cancelled")
    }
    leaver = insert_task(db, "leaver", program="leaves_a_task_that_exits")
    watching = watch(raises, leaves_a_task_that_exits)
    settled(db, leaver, *keys.values())
    words = {what: task(db, key).error for what, key in keys.items()}
    assert words == {"exit": "SystemExit: 3", "interrupt": "KeyboardInterrupt", "cancelled": "CancelledError"}
    assert task(db, leaver).result == '"lived on"'
    assert "from the loop" in attempts(db, leaver)[-1].log
    assert watching.lives


@on_sqlite
def test_a_coroutine_may_run_in_a_thread_if_its_row_says_so(db: Database, watch: Watch) -> None:
    where: list[str] = []

    @program
    async def names_its_thread() -> None:
        where.append(threading.current_thread().name)

    by_default = insert_task(db, "default", program="names_its_thread")
    in_thread = insert_task(db, "thread", program="names_its_thread", executor="thread")
    watch(names_its_thread)
    settled(db, by_default, in_thread)
    assert sorted(name.rstrip("-0123456789") for name in where) == ["penstock-async", "penstock-worker"]
