"""Processes and their descendants, read from /proc: what is ended with a host, and what must not be left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

GONE_WITHIN_S = 5.0
"""How long the system may take to take a killed process apart."""


def parents() -> dict[int, tuple[int, int]]:
    """pid -> (parent, session) of every process that is not a zombie."""
    found: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if state not in "ZX":
                    found[int(entry.name)] = int(parent), int(session)
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, and whatever is in the session of this process."""
    table = parents()
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        more = [child for child, (of, _) in table.items() if of == parent and child not in found and child != pid]
        found += more
        waiting += more
    return found + [child for child, (_, session) in table.items() if session == pid and child not in (pid, *found)]


def kill(pid: int) -> None:
    """End a process and all its family at once, as the loss of their host does."""
    family = [*descendants(pid), pid]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: none may see another die, or start a new one
        for member in family:
            send(member, number)
    until = time.monotonic() + GONE_WITHIN_S
    while parents().keys() & set(family) and time.monotonic() < until:
        time.sleep(0.005)


def kill_orphans(session: int) -> None:
    """End what is left of the session of a process that has ended. Its id is not given anew while anything is."""
    for pid, (_, of) in parents().items():
        if of == session:
            send(pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def catches(pid: int, number: signal.Signals) -> bool:
    """Has the process a handler for this signal?"""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def inside(folder: Path) -> list[int]:
    """The processes that have this folder as their own: every one that the harness started, and what they started."""
    found = []
    for pid in parents():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                found.append(pid)
    return found
