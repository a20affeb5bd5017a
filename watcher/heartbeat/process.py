"""The heartbeat's own process: `python -m watcher.heartbeat.process`, started and fed by watcher/heartbeat/child.py.

It reads orders from stdin, one JSON object a line, the first of them `Order`; the pipe's end is its end. It writes a
line to stdout for each beat. Nothing that a program does to the interpreter of the watcher reaches it; and it beats for
a watcher that lives, not for one that was stopped or that stands still.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from engine.database import open_database
from engine.dialects.timeouts import Timeouts
from watcher.heartbeat.beat import Beat, Beater, Member, keep_beating

LOOK_EVERY_S = 0.25
"""Between looks whether the watcher is still our parent, and whether it was stopped."""
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""They go to whole groups of processes: the watcher decides what they mean, and ends this process when it is done."""


@dataclass(frozen=True)
class Order:
    """What the watcher hands over at the start."""

    url: str
    member: dict[str, Any]
    every_s: float
    stall_s: float
    timeouts: dict[str, float]


class Parent:
    """The watcher as seen from here: what it says, whether it lives, and whether it was stopped."""

    def __init__(self, pipe: int, pid: int) -> None:
        self._pipe = pipe
        self._pid = pid
        self.state = "running"
        self.alive_at = time.monotonic()
        """The last sign of life of its loop, or the last moment at which none was to be expected of it."""
        self.awake_at = self.alive_at
        """The last sign that its interpreter does anything at all."""
        self.beat_by: float | None = None
        """When the beat under way must be over."""

    def orders(self) -> Iterator[dict[str, Any]]:
        """What it says, until it is gone."""
        rest = b""
        while not self.is_gone:
            if self.beat_by is not None and time.monotonic() > self.beat_by:
                os._exit(3)  # an answer that never comes: the next process has a connection of its own
            if not select.select([self._pipe], [], [], LOOK_EVERY_S)[0]:
                continue
            data = os.read(self._pipe, 65_536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (json.loads(line) for line in lines)

    def follow(self, orders: Iterator[dict[str, Any]]) -> None:
        """Obey until the watcher is gone, and end with it whatever the other thread does."""
        for order in orders:
            self.awake_at = time.monotonic()
            if "awake" not in order:
                self.state = order.get("state", self.state)
                self.alive_at = self.awake_at
        os._exit(0)

    @property
    def is_gone(self) -> bool:
        return os.getppid() != self._pid

    @property
    def is_stopped(self) -> bool:
        try:
            return psutil.Process(self._pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        except psutil.Error:
            return False  # it is gone, and `orders` will see it

    def end(self, stalled_s: float) -> None:
        words = f"penstock heartbeat: watcher process {self._pid} has stood still for {stalled_s:.0f} seconds: killed"
        print(words, file=sys.stderr, flush=True)
        if not self.is_gone:
            os.kill(self._pid, signal.SIGKILL)


class Beats:
    """Beats as long as the watcher is fit to hold tasks."""

    def __init__(self, order: Order, parent: Parent) -> None:
        self._order = order
        self._parent = parent
        self._timeouts = Timeouts(**order.timeouts)
        lists = {name: tuple(order.member[name]) for name in ("queues", "programs")}
        member = Member(**{**order.member, **lists})
        db = open_database(order.url, role="heartbeat", connections=1, timeouts=self._timeouts)
        self._beater = Beater(db, member)

    def run(self, report: int) -> None:
        keep_beating(self._beat, self._order.every_s, self._rest, lambda beat: _tell(report, beat))

    def _beat(self) -> Beat | None:
        if not self._is_fit():
            return None
        self._parent.beat_by = time.monotonic() + self._timeouts.connect_s + 2 * self._timeouts.socket_s
        beat = self._beater.beat(self._parent.state)
        self._parent.beat_by = None
        if beat.kind != "kept":  # a loop that waits for the same database need not show that it lives
            self._parent.alive_at = max(self._parent.alive_at, self._parent.awake_at)
        return beat

    def _is_fit(self) -> bool:
        if self._parent.is_gone:
            raise SystemExit  # before the thread that follows it has seen so
        if self._parent.is_stopped:
            self._parent.alive_at = time.monotonic()
            return False
        stalled_s = time.monotonic() - self._parent.alive_at
        if stalled_s > self._order.stall_s:
            self._parent.end(stalled_s)
            return False
        return True

    def _rest(self, seconds: float) -> bool:
        time.sleep(seconds)
        return False


def _tell(report: int, beat: Beat) -> None:
    """Without ever waiting for a watcher that does not read: what it misses is overtaken by the next beat. The end of a
    watcher that is gone is ours."""
    try:
        os.write(report, json.dumps(asdict(beat)).encode() + b"\n")
    except BlockingIOError:
        return
    except BrokenPipeError:
        raise SystemExit from None


def main() -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)  # they were blocked until here
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # a traceback for each connection that was cut
    report = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed here is no report
    os.set_blocking(report, False)
    parent = Parent(0, os.getppid())
    orders = parent.orders()
    first = next(orders, None)
    if first is None:
        return
    order = Order(**first)
    if order.member["pid"] != os.getppid():
        return  # it was gone before this process began: whoever adopted this one is not the watcher
    threading.Thread(target=parent.follow, args=(orders,), daemon=True).start()
    Beats(order, parent).run(report)


if __name__ == "__main__":
    main()
