"""Penstock's own processes, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from patience import line_with

PENSTOCK = [sys.executable, "-m", "penstock"]


def environment(**changes: str) -> dict[str, str]:
    """The environment without anything that Penstock reads, and with `changes`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "DB_"))}
    return {**kept, **changes}


def run(
    *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    command = [*PENSTOCK, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment(**(env or {})), timeout=timeout, capture_output=True, text=True
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """As `kill -9` does, and wait for those that it started, which notice: what they still do would reach the database
    of the next test."""
    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    process.kill()
    process.wait()
    psutil.wait_procs(started, timeout=10)


class Service:
    """A service in a process of its own; its log goes to a file."""

    def __init__(self, log: Path, *arguments: object, **env: str) -> None:
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [*PENSTOCK, *map(str, arguments)], stdout=stream, stderr=stream, env=environment(**env)
            )

    def said(self, words: str, seconds: float = 40.0) -> str:
        """Wait for a line with these words in it."""
        return line_with(words, self.log.read_text, lambda: self.process.poll() is None, seconds)

    @property
    def url(self) -> str:
        return self.said("Penstock is up: ").split()[3]

    def terminate(self, seconds: float = 30.0) -> int:
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self) -> None:
        kill(self.process)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: Any) -> None:
        self.kill()
