"""What is written down while a run goes on: requests, effects, faults, and the lives of processes.

All times are seconds of the monotonic clock, which every process of one machine shares; `wall_less_monotonic` of the
history leads to the wall clock.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


def now() -> float:
    return time.monotonic()


@dataclass(frozen=True)
class Request:
    """One request of the load client and its answer; `status` None: the connection broke (`error` says how)."""

    key: str
    task_id: str
    number: int
    register: str
    due: float
    sent: float
    answered: float
    status: int | None
    flow: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Effect:
    """One line of the effect log: `what` is `begin` or `end`, `how` is what the program answered."""

    what: str
    flow: str
    seq: int
    attempt: int
    claim: str
    pid: int
    parent_pid: int
    wall: float
    mono: float
    how: str | None = None
    total: int | None = None


@dataclass
class Fault:
    """Something that the nemesis did; `end` None while it lasts. `target` is the label of a process, or `database`."""

    kind: str
    target: str
    begin: float
    end: float | None = None
    pid: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def span(self) -> float:
        return (self.end if self.end is not None else self.begin) - self.begin

    def overlaps(self, begin: float, end: float) -> bool:
        return self.begin <= end and (self.end if self.end is not None else self.begin) >= begin


@dataclass
class Life:
    """One process from start to end. `cause` is what was done to it: kill, failpoint, drain, stop; or None."""

    label: str
    role: str
    pid: int
    begin: float
    end: float | None = None
    code: int | None = None
    cause: str | None = None
    asked: float | None = None
    """When it was told to end by SIGTERM."""
    heeded: bool = False
    """Whether it had a handler for that by then: who starts may die of the signal."""
    failpoints: str = ""


class Journal:
    """Records as JSON lines, one write each, so that what was written before a crash of the harness can be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stream = path.open("a", buffering=1)

    def write(self, kind: str, record: Any) -> None:
        line = json.dumps({"record": kind, **asdict(record)}, default=str)
        with self._lock:
            self._stream.write(line + "\n")

    def close(self) -> None:
        self._stream.close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; a line that a killed writer left unfinished is an error of the witness."""
    if path.exists():
        for line in path.read_text().splitlines():
            yield json.loads(line)


def read_effects(path: Path) -> list[Effect]:
    return sorted((Effect(**line) for line in read_lines(path)), key=lambda effect: effect.mono)
