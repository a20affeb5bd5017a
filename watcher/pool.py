"""Worker slots: threads that take tasks from one queue and put what became of them into another."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import structlog

from engine.claimed import ClaimedTask
from engine.executors import ASYNC
from engine.failpoints import hit
from engine.keys import Fence
from engine.settling.settlement import Settlement
from watcher.settlements import failed, released
from watcher.slots import Slot

log = structlog.get_logger("penstock.watcher")
Later = Callable[[Slot, Settlement], object]
Execute = Callable[[Slot, Later], Settlement | None]
"""Runs the task of a slot: its settlement, or None if the function given along will be told later."""


class Pool:
    """`workers` threads. Tasks handed in beyond that wait in order; every one of them comes out of `answer` once."""

    def __init__(
        self,
        workers: int,
        execute: Execute,
        answer: Callable[[Settlement], None],
        may_begin: Callable[[float], bool] = lambda handed_at: True,
        max_stuck: int = 100,
        kill: Callable[[], None] = lambda: None,
    ) -> None:
        self.workers = workers
        self._execute = execute
        self._answer = answer
        self._may_begin = may_begin
        self._max_stuck = max_stuck
        self.kill = kill
        """End what can be ended, now: it must not run on beside whoever takes its task."""
        self._made = 0
        self._handed: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        self._threads = [self._thread() for _ in range(workers)]
        self.slots: dict[Fence, Slot] = {}
        """Everything that is held, in the order in which it came; the loop's own, no worker touches it."""
        self.timed: dict[Fence, Slot] = {}
        """Those whose tries have a time limit."""
        self._turned_back = False
        self._stuck = 0
        self._counting = threading.Lock()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def hand(self, task: ClaimedTask) -> None:
        fence = task.fence
        slot = self.slots[fence] = Slot(task)
        if task.timeout_s is not None:
            self.timed[fence] = slot
        self._handed.put(slot)

    def done(self, settlement: Settlement) -> float:
        """The task is settled: its place is free. Returns how long it kept a worker busy, in seconds."""
        fence = settlement.task.fence
        self.timed.pop(fence, None)
        slot = self.slots.pop(fence, None)
        return 0.0 if slot is None else slot.busy_s

    def turn_back(self) -> None:
        """Begin nothing any more: tasks that wait for a worker are answered as released, now."""
        self._turned_back = True
        self.hand_back()

    def hand_back(self, waited_s: float = 0.0) -> int:
        """Answer tasks that have waited so long for a worker as released. Returns how many."""
        before = time.monotonic() - waited_s
        count = 0
        for slot in self.slots.values():
            if slot.handed_at > before:
                break  # so are those behind it: they came later
            if slot.ticket.acquire(blocking=False):
                hit("dispatch.hand_back")
                self._answer(released(slot.task))
                count += 1
        return count

    def give_up(self, slot: Slot) -> bool:
        """Wait no longer for a program: tell it to stop, and put a new worker in the place of the one that runs it.
        False if too many are stuck already: the pool is one smaller then, until the program comes back."""
        slot.stop.set()
        with self._counting:
            if slot.came_back:
                return True
            if self._stuck >= self._max_stuck:
                return False
            self._stuck += 1
            slot.given_up = True
        if slot.executor != ASYNC:  # that one holds no worker
            self._thread().start()
        return True

    def interrupt(self) -> None:
        """Tell every running program to stop."""
        for slot in list(self.slots.values()):
            slot.stop.set()

    def close(self) -> None:
        """Let idle workers end. A worker whose program never returns is left to the end of the process."""
        for _ in self._threads:
            self._handed.put(None)

    def longest_running_s(self) -> float:
        """Seconds since the oldest held task was begun; 0 if none was."""
        begun = [slot.begun_at for slot in list(self.slots.values()) if slot.begun_at is not None]
        return time.monotonic() - min(begun) if begun else 0.0

    def _work(self) -> None:
        while (slot := self._handed.get()) is not None:
            if not slot.ticket.acquire(blocking=False):
                continue  # handed back while it waited
            if self._turned_back or not self._may_begin(slot.handed_at):
                self._answer(released(slot.task))
                continue
            slot.begun_at = time.monotonic()
            settlement = self._run(slot)
            slot.busy_s = time.monotonic() - slot.begun_at
            if settlement is not None and not self._came(slot, settlement) and self._is_replaced(slot):
                return

    def _run(self, slot: Slot) -> Settlement | None:
        try:
            hit("dispatch.before_begin")
            return self._execute(slot, self._came_later)
        except Exception as error:  # of this watcher, not of the program
            # a worker that died would keep its task for ever
            log.exception("a worker failed", flow=slot.task.key.flow_id, seq=slot.task.key.seq)
            return failed(slot.task, f"the watcher could not run it: {error!r}")

    def _came(self, slot: Slot, settlement: Settlement) -> bool:
        """A program has answered. False if nobody waits for it any more."""
        hit("dispatch.after_program")
        if slot.answered.acquire(blocking=False):
            self._answer(settlement)
            return True
        return False

    def _came_later(self, slot: Slot, settlement: Settlement) -> None:
        if not self._came(slot, settlement):
            self._is_replaced(slot)

    def _is_replaced(self, slot: Slot) -> bool:
        """The program came back too late: what it answered is dropped. Its worker ends if another took its place."""
        with self._counting:
            slot.came_back = True
            self._stuck -= slot.given_up
            return slot.given_up

    def _thread(self) -> threading.Thread:
        self._made += 1
        return threading.Thread(target=self._work, name=f"penstock-worker-{self._made}", daemon=True)
