"""Worker slots: threads that take tasks from one queue and put what became of them into another."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.claim import ClaimedTask
from engine.keys import Fence
from engine.settle import Settlement
from watcher.settlements import released

Execute = Callable[[ClaimedTask, threading.Event], Settlement]


@dataclass
class Slot:
    """A task that this watcher holds: waiting for a worker, running, or answered and not settled yet."""

    task: ClaimedTask
    stop: threading.Event = field(default_factory=threading.Event)
    begun_at: float | None = None
    ticket: threading.Lock = field(default_factory=threading.Lock)
    """Taken once and kept: by the worker that begins the task, or by whoever hands it back instead."""
    handed_at: float = field(default_factory=time.monotonic)


class Pool:
    """`workers` threads. Tasks handed in beyond that wait in order; every one of them comes out of `answer` once."""

    def __init__(
        self,
        workers: int,
        execute: Execute,
        answer: Callable[[Settlement], None],
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self.workers = workers
        self._execute = execute
        self._answer = answer
        self._may_begin = may_begin
        self._handed: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"penstock-worker-{number}", daemon=True)
            for number in range(1, workers + 1)
        ]
        self.slots: dict[Fence, Slot] = {}
        """Everything that is held; the loop's own, no worker touches it."""
        self._turned_back = False

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def hand(self, task: ClaimedTask) -> None:
        slot = self.slots[task.fence] = Slot(task)
        self._handed.put(slot)

    def done(self, settlement: Settlement) -> None:
        """The task is settled: its place is free."""
        self.slots.pop(settlement.task.fence, None)

    def turn_back(self) -> None:
        """Begin nothing any more: tasks that wait for a worker are answered as released, now."""
        self._turned_back = True
        self.hand_back()

    def hand_back(self, waited_s: float = 0.0) -> int:
        """Answer tasks that have waited so long for a worker as released. Returns how many."""
        before = time.monotonic() - waited_s
        count = 0
        for slot in self.slots.values():
            if slot.handed_at <= before and slot.ticket.acquire(blocking=False):
                self._answer(released(slot.task))
                count += 1
        return count

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
            if self._turned_back or not self._may_begin():
                self._answer(released(slot.task))
                continue
            slot.begun_at = time.monotonic()
            self._answer(self._execute(slot.task, slot.stop))
