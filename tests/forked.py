"""Penstock's own processes, many of them: forked from one process that has imported everything and done nothing yet.

Each is a `penstock` of its own, with its own environment, command line and connections; only the imports are shared,
which are most of what it costs to start one.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from patience import line_with, until
from servers import answers

MODULES = ("penstock.cli", "penstock.services", "penstock.access", "penstock.commands.serve", "penstock.commands.watch")
MODULES += ("penstock.commands.db", "engine.migrate", "watcher.loop", "register.app", "register.server", "pymysql")


def context() -> ForkServerContext:
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(MODULES))
    return found


class Forked:
    """`Forked(log, "watch", "--db", url, PENSTOCK_FAILPOINTS="...")`; `path` is a folder with plugins, `home` one to
    work in, in a session of its own."""

    def __init__(
        self, log: Path, *arguments: object, path: Path | None = None, home: Path | None = None, **env: str
    ) -> None:
        self.log = log
        given = log, [str(argument) for argument in arguments], path, home, env
        self.process = context().Process(target=_penstock, args=given, daemon=True)
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def lives(self) -> bool:
        return self.process.is_alive()

    def poll(self) -> int | None:
        """The exit code, or minus the signal; None while it lives. Not to be asked by two threads at once."""
        return self.process.exitcode

    def ended(self, seconds: float = 40.0) -> int:
        """Wait for the end. Returns the exit code, or minus the signal."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"it did not end:\n{self.said_all()}"
        return self.process.exitcode

    def said(self, words: str, seconds: float = 40.0) -> str:
        """Wait for a line with these words in it."""
        return line_with(words, self.said_all, lambda: self.lives, seconds)

    def said_all(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def answering(self, port: int, seconds: float = 40.0) -> str:
        """Wait until it accepts connections there. Returns the URL."""

        def answering() -> bool:
            assert self.lives, self.said_all()
            return answers(port)

        until(answering, seconds, self.said_all)
        return f"http://127.0.0.1:{port}"

    def terminate(self, seconds: float = 30.0) -> int:
        self.process.terminate()
        return self.ended(seconds)

    def kill(self) -> None:
        if self.lives:
            self.process.kill()
        self.process.join()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()


def _penstock(log: Path, arguments: list[str], path: Path | None, home: Path | None, env: dict[str, str]) -> None:
    if home is not None:
        os.setsid()
        os.chdir(home)
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    for name in [name for name in os.environ if name.startswith(("PENSTOCK_", "DB_"))]:
        del os.environ[name]
    os.environ.update(env)
    if path is not None:
        sys.path.insert(0, str(path))
    sys.argv = ["penstock", *arguments]
    from engine import failpoints
    from penstock.__main__ import main

    failpoints.arm()  # as the import does in a process that was not forked
    main()
