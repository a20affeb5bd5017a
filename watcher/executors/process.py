"""One child process, seen from the watcher: started, given one task at a time, ended whatever it does.

Everything is read without blocking in one loop: answers, what the program prints, and what the keeper reports. So a
child that says nothing, or too much, or nonsense, is found out, and what it prints takes no more memory than its tail.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from programs.catalogue import Source
from watcher.executors.frames import MAX_ANSWER, BadFrame, Reader, pack
from watcher.executors.limits import Limits
from watcher.executors.tail import Tail
from watcher.slots import StopSignal

HERE: Final = Path(__file__).parent
KILL_GRACE_S: Final = 2.0
"""Between the wish that a program should end, and the end of its whole session."""
START_S: Final = 60.0
GONE_S: Final = 10.0
"""How long the keeper may take until nothing is left."""
PIECE: Final = 65_536
MAX_PLAN_FRAMES: Final = 400
LOG_RATE: Final = 200 * 1024 * 1024
"""Bytes a second that are read of what a program prints; a program that prints faster waits."""


@dataclass
class Ending:
    """What became of one task in a child: an `answer`, or the words why there is none.

    `how` is answered, died, stopped, timed out or bad.
    """

    how: str
    answer: dict[str, Any] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    words: str = ""
    log: str | None = None
    is_reusable: bool = False


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
        self._hello: bytes | None = pack({**hello, "max_rss_bytes": limits.max_rss_bytes})

    def run(
        self,
        request: dict[str, Any],
        stop: StopSignal,
        limit_s: float | None,
        find: Callable[[str], dict[str, Any]],
    ) -> Ending:
        """Run one task to its end, or to the end of the child. `find` reads what the program asks of its flow."""
        stop.tell(self.wake)
        if self._hello is not None:
            hello, self._hello = self._hello, None
            ending = _Exchange(self, stop, START_S, find).of(hello)
            if ending.how != "answered" or "ready" not in ending.answer:
                return self._not_started(ending)
        self.tasks += 1
        ending = _Exchange(self, stop, limit_s, find).of(pack(request))
        is_whole = ending.answer.get("left", "?") is None and ("outcome" in ending.answer or "failed" in ending.answer)
        ending.is_reusable = ending.is_reusable and is_whole and self.tasks < self._limits.max_tasks
        if ending.answer.get("processes"):
            self.end()
        return ending

    def lives(self) -> bool:
        """Has the keeper nothing to report yet? Asked of an idle child."""
        return not _is_readable(self._keeper, 0)

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
            _is_readable(self._keeper, 0.5)
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

    def _not_started(self, ending: Ending) -> Ending:
        if ending.how == "answered":
            ending.words = str(ending.answer.get("unfit", "it sent no greeting"))
        if ending.how != "stopped":
            ending.how, ending.words = "died", f"cannot start a child process: {ending.words}"
        self.end()
        ending.is_reusable = False
        return ending

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


class _Exchange:
    """One request and everything until its answer, or until there can be none."""

    def __init__(
        self, child: Child, stop: StopSignal, limit_s: float | None, find: Callable[[str], dict[str, Any]]
    ) -> None:
        self._child = child
        self._stop = stop
        self._find = find
        self._ends_at = None if limit_s is None else time.monotonic() + limit_s
        self._tail = Tail()
        self._out = bytearray()
        self._tasks: list[dict[str, Any]] = []
        self._plan_frames = 0
        self._kill_at: float | None = None
        self._why: str | None = None
        self._ending: Ending | None = None
        self._marked_at, self._since_mark = time.monotonic(), 0
        self._poll = select.poll()
        self._request, self._answer, self._log = child.descriptors
        for fd in (self._answer, self._log, child.keeper.fileno(), child.awake.fileno()):
            self._poll.register(fd, select.POLLIN)

    def of(self, frame: bytes) -> Ending:
        """Send the frame, and wait."""
        self._send(frame)
        while self._ending is None:
            self._watch_the_time()
            ready = dict(self._poll.poll(self._patience_ms()))
            if self._child.awake.fileno() in ready:
                with suppress(OSError):
                    self._child.awake.recv(PIECE)
            if self._request in ready:
                self._write()
            if self._log in ready:
                self._read_log()
            if self._answer in ready:
                self._read_answer()
            if self._ending is None and self._child.keeper.fileno() in ready:
                self._child.read_report()
                if self._child.is_gone:
                    self._last_words()
        return self._finished(self._ending)

    def _finished(self, ending: Ending) -> Ending:
        self._drain_log()
        ending.log, ending.tasks = self._tail.text(), self._tasks
        ending.is_reusable = ending.how == "answered" and self._why is None and self._child.frames.is_empty
        if self._why == "timed out":
            ending.how = "timed out"
        return ending

    def _watch_the_time(self) -> None:
        now = time.monotonic()
        if self._why is None:
            if self._stop.is_set():
                self._why = "stopped"
            elif self._ends_at is not None and now >= self._ends_at:
                self._why = "timed out"
            if self._why is not None:
                grace = KILL_GRACE_S if self._stop.grace_s is None else self._stop.grace_s
                self._kill_at = now + grace
                self._send(pack({"stop": self._why}))
                self._child.ask_to_end()
        elif self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._over(self._why)

    def _patience_ms(self) -> float | None:
        """Until the next thing that must be done; None for as long as nothing happens."""
        ahead = self._ends_at if self._why is None else self._kill_at
        return None if ahead is None else max(0.0, ahead - time.monotonic()) * 1000 + 1

    def _over(self, how: str, words: str = "") -> None:
        """There is no answer: end the child, and say why."""
        said = self._child.end()
        self._ending = Ending(how, words=words or said)

    def _send(self, frame: bytes) -> None:
        self._out += frame
        self._write()

    def _write(self) -> None:
        try:
            while self._out:
                del self._out[: os.write(self._request, self._out[:PIECE])]
        except BlockingIOError:
            self._poll.register(self._request, select.POLLOUT)
            return
        except OSError:  # it has closed its end; the answer, or its end, says more
            self._out.clear()
        with suppress(KeyError):
            self._poll.unregister(self._request)

    def _read_log(self) -> None:
        piece = self._piece(self._log)
        if piece:
            self._tail.add(piece)
            self._slow_down(len(piece))
        elif piece is not None:
            self._poll.unregister(self._log)

    def _slow_down(self, size: int) -> None:
        self._since_mark += size
        if self._since_mark >= LOG_RATE // 10:
            spent = time.monotonic() - self._marked_at
            if spent < 0.1:
                time.sleep(0.1 - spent)
            self._marked_at, self._since_mark = time.monotonic(), 0

    def _drain_log(self) -> None:
        """What was printed before the answer is there already; what threads go on printing has no end."""
        for _ in range(64):
            piece = self._piece(self._log)
            if not piece:
                return
            self._tail.add(piece)

    def _read_answer(self) -> None:
        piece = self._piece(self._answer)
        if piece is None:
            return
        if not piece:
            self._poll.unregister(self._answer)
            self._closed()
            return
        self._child.frames.feed(piece)
        self._take_frames()

    def _take_frames(self) -> None:
        try:
            while self._ending is None and (message := self._child.frames.next()) is not None:
                self._take(message)
        except BadFrame as error:
            self._over("bad" if error.is_big else "died", f"the process sent {error}")

    def _take(self, message: dict[str, Any]) -> None:
        if "ask" in message:
            self._send(pack(self._find(str(message["ask"]))))
        elif "tasks" in message and isinstance(message["tasks"], list):
            self._plan_frames += 1
            if self._plan_frames > MAX_PLAN_FRAMES:
                self._over("bad", "the process sent a plan that is too long")
            self._tasks += message["tasks"]
        else:
            self._ending = Ending("answered", answer=message)

    def _closed(self) -> None:
        """No answer will come. It may be about to die by itself, and how is worth knowing."""
        deadline = time.monotonic() + 1.0
        while not self._child.is_gone and (left := deadline - time.monotonic()) > 0:
            _is_readable(self._child.keeper, left)
            self._child.read_report()
        if self._child.is_gone:
            self._last_words()
        else:
            self._over(self._why or "died", "the process closed its pipe to the watcher")

    def _last_words(self) -> None:
        """Everything is dead; an answer that was sent before still counts."""
        while self._ending is None and (piece := self._piece(self._answer)):
            self._child.frames.feed(piece)
            self._take_frames()
        if self._ending is None:
            self._ending = Ending(self._why or "died", words=self._child.how_it_ended())

    def _piece(self, fd: int) -> bytes | None:
        """What there is to read: b"" at the end, None if there is nothing yet."""
        try:
            return os.read(fd, PIECE)
        except BlockingIOError:
            return None
        except OSError:
            return b""


def _is_readable(end: socket.socket, seconds: float) -> bool:
    """Is there something to read, within so many seconds? By poll, as select knows only small descriptors."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
