"""The watcher's end of its heartbeat process: start it, feed it, hear it, start another when it is gone, and beat in
its place meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import structlog

from engine.outages import OUTAGES
from watcher.heartbeat.beat import Beat, Beater
from watcher.heartbeat.process import IGNORED, Order

log = structlog.get_logger("penstock.watcher")
ARMED = "PENSTOCK_FAILPOINTS"
"""Variables that tests set for every process of theirs."""
SILENT_BEATS = 1.5
"""After so many intervals without a word from the process, this one beats in its place."""
SIGNS_PER_STALL = 20
"""Signs of life that the loop gives within the time after which it would count as stalled."""


class ProcessBeats:
    """Keeps one heartbeat process at work from `start` to `stop`."""

    def __init__(self, order: Order, stand_in: Beater, report: Callable[[Beat], None]) -> None:
        self._order = order
        self._stand_in = stand_in
        self._report = report
        self._reporting = threading.Lock()
        self._heard_at = self._newest = 0.0
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="penstock-heartbeat", daemon=True)
        self._second = threading.Thread(target=self._beat_meanwhile, name="penstock-heartbeat-stand-in", daemon=True)
        self._state = "running"
        self._sign_at = 0.0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Return once the process is started and told what to do, whatever programs do to this one from now on; until
        it is heard of, this one beats itself. Errors: OSError if there is no process to be had."""
        self._heard_at = time.monotonic()
        self._begin()
        self._thread.start()
        self._second.start()

    def stop(self) -> None:
        self._stopped.set()
        with self._lock:
            process = self._process
            if process is not None and process.stdin is not None:
                process.stdin.close()
        for thread in (self._thread, self._second):
            if thread.ident is not None:
                thread.join(timeout=5)

    def tell(self, state: str) -> None:
        """What the row is to say of the watcher from the next beat on."""
        self._state = state
        self._say({"state": state})

    def alive(self) -> None:
        """A sign of life of the watcher's loop."""
        now = time.monotonic()
        if now >= self._sign_at:
            self._sign_at = now + min(5.0, self._order.stall_s / SIGNS_PER_STALL)
            self._say({})

    def _say(self, words: dict[str, Any]) -> None:
        with self._lock, suppress(OSError, ValueError):  # it is gone, full or closed: the next one is told anew
            if self._process is not None and self._process.stdin is not None:
                os.write(self._process.stdin.fileno(), json.dumps(words).encode() + b"\n")

    def _run(self) -> None:
        pause = 0.2
        while not self._stopped.is_set():
            begun = time.monotonic()
            try:
                code = self._serve(self._process or self._begin())
            except OSError as error:  # no process to be had: this one goes on beating
                code = error.errno or -1
            if self._stopped.is_set():
                return
            if time.monotonic() - begun > 60:
                pause = 0.2
            if (left_out := OUTAGES.may_say("heartbeat")) is not None:
                log.warning("the heartbeat process ended, another begins", code=code, left_out=left_out)
            self._stopped.wait(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, 5.0)

    def _begin(self) -> subprocess.Popen[bytes]:
        """Another process, with its orders."""
        process = _begin()
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        with self._lock:
            self._process = process
        self._say(asdict(self._order))
        self._say({"state": self._state})
        return process

    def _serve(self, process: subprocess.Popen[bytes]) -> int:
        """Hear one process until it ends; returns its exit code."""
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            if self._stopped.is_set():
                process.stdin.close()
            for line in process.stdout:
                self._heard_at = time.monotonic()
                self._tell_of(Beat(**json.loads(line)))
            with self._lock:
                self._process = None
            return _ended(process)

    def _tell_of(self, beat: Beat) -> None:
        """Report beats in the order in which they were begun, whoever made them."""
        with self._reporting:
            if beat.begun >= self._newest:
                self._newest = beat.begun
                self._report(beat)

    def _beat_meanwhile(self) -> None:
        """A process takes a second to start, and longer where many start at once: a short lease would end before."""
        every_s, stood_in = self._order.every_s, False
        while not self._stopped.wait(every_s / 2):
            self._say({"awake": True})
            if time.monotonic() >= self._heard_at + SILENT_BEATS * every_s:
                self._tell_of(self._stand_in.beat(self._state))
                stood_in = True
            elif stood_in:
                self._stand_in.rest()
                stood_in = False


def _begin() -> subprocess.Popen[bytes]:
    """It imports what this process imports, whatever lies in the folder; and it has no business with our settings."""
    ours = ("PENSTOCK_", "DB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours) or name.startswith(ARMED)}
    env = {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", "watcher.heartbeat.process"]
    # a signal to the whole group may come before it ignores them: it starts with them blocked, as this thread has them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, bufsize=0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
