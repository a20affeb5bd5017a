"""Further watchers beside the one of `penstock up`: processes of their own, started again when one ends by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import click
import structlog
from click.core import ParameterSource

log = structlog.get_logger("penstock")
FROM_PARENT: Final = "-"
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
"""Pauses before a watcher that ended is started again: doubled each time, until one has worked for as long as that."""


class Fleet:
    """`count` watchers, from the start of the block to its end. They end with this process, however it ends."""

    def __init__(self, count: int, db_url: str, flags: Sequence[str]) -> None:
        self._command = [sys.executable, "-m", "penstock", "watch", "--with-parent", f"--db={FROM_PARENT}", *flags]
        self._db_url = db_url
        self._members = [_Member(self) for _ in range(count)]
        self.stopping = threading.Event()

    def tell(self, *flags: str) -> None:
        """Further flags, before they start."""
        self._command += flags

    def stop(self) -> None:
        """Pass a request to stop on: the first lets tasks finish, the second hands them back."""
        self.stopping.set()
        for member in self._members:
            member.terminate()

    def __enter__(self) -> Fleet:
        for member in self._members:
            member.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if not self.stopping.is_set():
            self.stop()
        for member in self._members:
            member.thread.join()

    def start(self) -> subprocess.Popen[bytes]:
        # a session of its own: Ctrl-C reaches this process alone, which passes it on once
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it ended at once: its exit code is what counts
            # here nobody reads a password, as they may in a list of processes
            process.stdin.write(f"{self._db_url}\n".encode())
            process.stdin.flush()
        return process


class _Member:
    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.thread = threading.Thread(target=self._run, name="penstock-fleet", daemon=True)
        self._guard = threading.RLock()  # signal handlers come at any time
        self._process: subprocess.Popen[bytes] | None = None

    def terminate(self) -> None:
        with self._guard:
            if self._process is not None:
                self._process.terminate()

    def _run(self) -> None:
        pause_s, stopping = FIRST_PAUSE_S, self.fleet.stopping
        while not stopping.is_set():
            began = time.monotonic()
            ended = self._serve()
            if stopping.is_set():
                return
            if time.monotonic() - began > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            log.warning("a watcher ended and is started again", ended=ended, pause_s=pause_s)
            stopping.wait(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _serve(self) -> int | str:
        """Start the process and wait for its end: the exit code, or why it could not be started."""
        with self._guard:
            if self.fleet.stopping.is_set():  # nobody would tell it
                return 0
            try:
                self._process = self.fleet.start()
            except OSError as error:
                return str(error)
        return self._process.wait()


def flags_of(context: click.Context, watch: click.Command) -> list[str]:
    """What this command was told, wherever it was read, as the flags of the command `watch`."""
    flags: list[str] = []
    for option in watch.params:
        name = option.name or ""
        is_told = context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)
        if isinstance(option, click.Option) and name != "db" and is_told:
            flags += _flags(option, context.params[name])
    return flags


def _flags(option: click.Option, told: Any) -> list[str]:
    flag = option.opts[0]
    if option.is_flag:
        return [flag] if told else list(option.secondary_opts[:1])
    values = told if option.multiple else [told]
    return [f"{flag}={value}" for value in values if value is not None]


def told_by_parent() -> str:
    """The URL of the database, which the parent has written to our standard input."""
    url = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        url += byte
    return url.decode()


def stop_with_parent(stop: Callable[[], None]) -> None:
    """Call `stop` when whoever started this process has ended, and with it our standard input."""

    def wait() -> None:
        while os.read(0, 1024):  # not through sys.stdin, whose lock would hold up the end of this process
            pass
        stop()

    threading.Thread(target=wait, name="penstock-parent", daemon=True).start()
