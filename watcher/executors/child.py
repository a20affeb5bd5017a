"""The inside of a child process: it builds its own catalogue once, then runs one task after the other.

The program runs in the main thread, so that it may set signal handlers as anywhere. A second thread reads what the
watcher sends: the next task, answers to what the program asks of its flow, and the wish to stop.
"""

from __future__ import annotations

import io
import logging
import os
import queue
import select
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from programs.catalogue import Catalogue, Source, rebuild
from programs.contract import Call, Stopped
from programs.errors import BadOutcome, CatalogueError, ParameterError
from programs.invoke import invoke
from watcher import capture, masking
from watcher.executors import crossing
from watcher.executors.frames import MAX_ANSWER, BadFrame, Reader, pack
from watcher.executors.traces import Traces
from watcher.lazy import LazyMapping, LazySequence

PIECE: Final = 65_536


class Unreadable(Exception):
    """The watcher could not read what the program asked for: the database is away, not the program."""


class _Pipes:
    """The two pipes to the watcher, and the signal that asks the program to stop."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests = requests
        self._answers = answers
        self._writing = threading.Lock()
        self._asking = threading.Lock()
        self._awake, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGTERM, _ignore)  # what counts is the byte that the wake-up descriptor gets
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.stop = threading.Event()
        self.tasks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="penstock-pipe", daemon=True).start()

    def send(self, frame: bytes) -> None:
        with self._writing:
            rest = memoryview(frame)
            while rest:
                rest = rest[os.write(self._answers, rest) :]

    def ask(self, what: str) -> Any:
        """Something of the flow, read by the watcher. Errors: Unreadable."""
        with self._asking:
            self.send(pack({"ask": what}))
            found = self._found.get()
        if "unreadable" in found:
            raise Unreadable(found["unreadable"])
        return found["found"]

    def _read(self) -> None:
        try:
            self._read_all()
        finally:
            self.stop.set()
            self._found.put({"unreadable": "the watcher is gone"})
            self.tasks.put(None)

    def _read_all(self) -> None:
        frames = Reader()
        poll = select.poll()
        for fd in (self._requests, self._awake):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._awake:
                    if signal.SIGTERM in os.read(fd, 4096):
                        self.stop.set()
                    continue
                piece = os.read(fd, PIECE)
                if not piece:
                    return
                frames.feed(piece)
            while (message := frames.next()) is not None:
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if "stop" in message:
            self.stop.set()
        elif "found" in message or "unreadable" in message:
            self._found.put(message)
        else:
            self.tasks.put(message)


def main(requests: int, answers: int, hello: Mapping[str, Any]) -> None:
    """Run tasks until the watcher closes its pipe."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    _log_to_stderr()
    pipes = _Pipes(requests, answers)
    try:
        catalogue = rebuild(Source(hello["plugins"], hello["autoload"], tuple(hello["modules"])))
    except BaseException as error:
        words = str(error) if isinstance(error, CatalogueError) else f"{type(error).__name__}: {error}"
        pipes.send(pack({"unfit": words}, MAX_ANSWER))
        return
    pipes.send(pack({"ready": os.getpid()}))
    traces = Traces((requests, answers), hello["max_rss_bytes"])
    while (task := pipes.tasks.get()) is not None:
        _run(task, catalogue, pipes, traces)


def _run(task: Mapping[str, Any], catalogue: Catalogue, pipes: _Pipes, traces: Traces) -> None:
    """Run one task and send what came of it, with what the program left behind in this process."""
    pipes.stop.clear()
    answer = _answer(task, catalogue, pipes)
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    left, processes = traces.found()
    closing = {"left": left, "processes": processes}
    try:
        frame = pack({**answer, **closing}, MAX_ANSWER)
    except BadFrame as error:
        frame = pack({"failed": "result", "words": f"the answer {error}", **closing})
    pipes.send(frame)


def _answer(task: Mapping[str, Any], catalogue: Catalogue, pipes: _Pipes) -> dict[str, Any]:
    try:
        entry = catalogue.get(task["program"])
        if entry is None:
            return {"failed": "unknown", "words": f"no program is called {task['program']!r} in a child process"}
        masking.add(task["secrets"])
        outcome = invoke(entry.program, _call(task, entry.program.name, pipes))
        *pieces, last = crossing.outgoing(outcome)
        for piece in pieces:
            pipes.send(pack(piece))
        return last
    except BaseException as error:  # whatever a program raises ends its try, not this process
        return _failure(error)


def _call(task: Mapping[str, Any], name: str, pipes: _Pipes) -> Call:
    return Call(
        **task["facts"],
        program=name,
        results=LazyMapping(lambda: {int(seq): found for seq, found in pipes.ask("results").items()}),
        upstream=LazySequence(partial(pipes.ask, "upstream")),
        arrivals=LazySequence(lambda: crossing.arrivals_in(pipes.ask("arrivals"))),
        logger=capture.task_logger(),
        stop=pipes.stop,
    )


def _failure(error: BaseException) -> dict[str, Any]:
    match error:
        case Stopped():
            return {"failed": "stopped", "words": ""}
        case Unreadable():
            return {"failed": "stopped", "words": capture.one_line(error)}
        case ParameterError():
            return {"failed": "parameters", "words": capture.one_line(error, bare=True)}
        case BadOutcome() | crossing.NoJSON():
            return {"failed": "result", "words": capture.one_line(error, bare=True)}
    return {"failed": "raised", "words": capture.one_line(error), "traceback": capture.trace(error)}


def _log_to_stderr() -> None:
    """Everything that is logged joins what is printed, in the order in which it happened."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(capture.FORMAT)
    handler.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    capture.task_logger().setLevel(logging.INFO)


def _ignore(number: int, frame: object) -> None:
    pass
