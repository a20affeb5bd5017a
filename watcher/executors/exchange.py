"""One task in a child process: the request, and everything until its answer, or until there can be none.

Everything is read without blocking in one loop: answers, what the program prints, and what the keeper reports. So a
child that says nothing, or too much, or nonsense, is found out, and what it prints takes no more memory than its tail.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from watcher.executors.frames import BadFrame, pack
from watcher.executors.tail import Tail
from watcher.slots import StopSignal

if TYPE_CHECKING:
    from watcher.executors.process import Child

KILL_GRACE_S: Final = 2.0
"""Between the wish that a program should end, and the end of its whole session."""
DEATH_S: Final = 5.0
"""How long a worker that has closed its pipe may take to be reported dead, before it is ended for that."""
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
    is_reusable: bool = False


class Exchange:
    """One request and everything until its answer, or until there can be none."""

    def __init__(
        self,
        child: Child,
        stop: StopSignal,
        limit_s: float | None,
        find: Callable[[str], dict[str, Any]],
        printed: Tail,
    ) -> None:
        self._child = child
        self._stop = stop
        self._find = find
        self._ends_at = None if limit_s is None else time.monotonic() + limit_s
        self._printed = printed
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
        ending.tasks = self._tasks
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
            self._printed.add(piece)
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
            self._printed.add(piece)

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
        deadline = time.monotonic() + DEATH_S
        while not self._child.is_gone and (left := deadline - time.monotonic()) > 0:
            is_readable(self._child.keeper, left)
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


def is_readable(end: socket.socket, seconds: float) -> bool:
    """Is there something to read, within so many seconds? By poll, as select knows only small descriptors."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
