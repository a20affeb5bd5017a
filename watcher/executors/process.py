"""One child process, seen from the watcher: started, given one task at a time, ended whatever it does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from programs.catalogue import Source
from watcher.executors.exchange import PIECE, Ending, Exchange, is_readable
from watcher.executors.frames import MAX_ANSWER, Reader, pack
from watcher.executors.limits import Limits
from watcher.executors.tail import Tail
from watcher.slots import StopSignal

HERE: Final = Path(__file__).parent
START_S: Final = 60.0
GONE_S: Final = 10.0
"""How long the keeper may take until nothing is left."""


class Child:
    """A keeper with its worker. Used by one thread at a time; `kill` may be called from any."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._limits = limits
        self.tasks = 0
        request, self._requests = os.pipe()
        self._answers, answer = os.pipe()
        self._log, log = os.pipe()
        self._keeper, of_keeper = socket.socketpair()
        self._wake, self._awake = socket.socketpair()
        told = {"fds": (request, answer, log), "memory_bytes": limits.memory_bytes}
        told["max_processes"] = limits.max_processes + 1
        worker = [sys.executable, "-P", "-X", "faulthandler", str(HERE / "start_child.py"), str(request), str(answer)]
        keeper = [sys.executable, "-I", "-S", str(HERE / "keeper.py"), json.dumps(told), *worker]
        try:
            self._process = subprocess.Popen(
                keeper,
                stdin=of_keeper.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(request, answer, log),
                env=dict(limits.environment),
                start_new_session=True,
            )
        except BaseException:
            self._close()
            raise
        finally:
            for fd in (request, answer, log):
                os.close(fd)
            of_keeper.close()
        for fd in (self._requests, self._answers, self._log):
            os.set_blocking(fd, False)
        self._wake.setblocking(False)
        self._awake.setblocking(False)
        self._keeper.setblocking(False)
        self._frames = Reader(MAX_ANSWER)
        self._report = b""
        self._is_gone = False
        plugins = None if source.plugins is None else list(source.plugins)
        hello = {"path": sys.path, "plugins": plugins, "autoload": source.autoload, "modules": list(source.modules)}
        self._hello = pack({**hello, "max_rss_bytes": limits.max_rss_bytes})

    def greet(self, stop: StopSignal, printed: Tail) -> Ending | None:
        """Wait until it can take tasks: None, or how its start ended instead."""
        stop.tell(self.wake)
        ending = Exchange(self, stop, START_S, _nothing_asked, printed).of(self._hello)
        if ending.how == "answered":
            if "ready" in ending.answer:
                return None
            ending.words = str(ending.answer.get("unfit", "it sent no greeting"))
        return ending

    def run(
        self,
        request: dict[str, Any],
        stop: StopSignal,
        limit_s: float | None,
        find: Callable[[str], dict[str, Any]],
        printed: Tail,
    ) -> Ending:
        """Run one task to its end, or to the end of the child. `find` reads what the program asks of its flow, and
        `printed` gets what it prints."""
        stop.tell(self.wake)
        self.tasks += 1
        ending = Exchange(self, stop, limit_s, find, printed).of(pack(request))
        is_whole = ending.answer.get("left", "?") is None and ("outcome" in ending.answer or "failed" in ending.answer)
        ending.is_reusable = ending.is_reusable and is_whole and self.tasks < self._limits.max_tasks
        if ending.answer.get("processes"):
            self.end()
        return ending

    def lives(self) -> bool:
        """Has the keeper nothing to report yet? Asked of an idle child."""
        return not is_readable(self._keeper, 0)

    def wake(self) -> None:
        """Somebody wants the program to stop: look now."""
        with suppress(OSError):
            self._wake.send(b"w")

    def kill(self) -> None:
        """End everything, now; whoever waits for an answer is told that there is none."""
        self._command(b"K")

    def end(self) -> str:
        """End everything, wait until nothing is left, and say how the worker ended."""
        self._command(b"K")
        deadline = time.monotonic() + GONE_S
        while not self._is_gone and time.monotonic() < deadline:
            is_readable(self._keeper, 0.5)
            self.read_report()
        return self.how_it_ended()

    def retire(self) -> None:
        """Let it end by itself; the keeper sees to the rest."""
        self._command(b"R")
        self._close()

    def is_over(self) -> bool:
        """Has the keeper ended? Asked so that it leaves no zombie."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def close(self) -> None:
        self._close()

    def _close(self) -> None:
        for fd in (self._requests, self._answers, self._log):
            with suppress(OSError):
                os.close(fd)
        self._requests = self._answers = self._log = -1
        for end in (self._keeper, self._wake, self._awake):
            end.close()

    def _command(self, byte: bytes) -> None:
        with suppress(OSError):
            self._keeper.send(byte)

    def read_report(self) -> None:
        """What the keeper says last, or the end of the keeper."""
        try:
            piece = self._keeper.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._report += piece
        self._is_gone = self._is_gone or not piece

    def how_it_ended(self) -> str:
        """The keeper's report in words."""
        try:
            report = json.loads(self._report)
        except ValueError:
            return "the process is gone, and its keeper did not say how"
        if count := report.get("processes"):
            most = self._limits.max_processes
            return f"too many processes: the program had {count} at once, and may have {most}"
        if number := report.get("signal"):
            hint = ", memory limit?" if number == signal.SIGKILL else ""
            with suppress(ValueError):
                return f"process killed by signal {number} ({signal.Signals(number).name}{hint})"
            return f"process killed by signal {number}"
        return f"process exited with {report.get('exit')}"

    # what an exchange works with
    @property
    def descriptors(self) -> tuple[int, int, int]:
        return self._requests, self._answers, self._log

    @property
    def keeper(self) -> socket.socket:
        return self._keeper

    @property
    def awake(self) -> socket.socket:
        return self._awake

    @property
    def frames(self) -> Reader:
        return self._frames

    @property
    def is_gone(self) -> bool:
        return self._is_gone

    def ask_to_end(self) -> None:
        self._command(b"T")


def _nothing_asked(what: str) -> dict[str, Any]:
    return {"unreadable": f"no task has begun, and {what[:40]!r} belongs to one"}
