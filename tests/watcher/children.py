"""What is left of child processes: asked by tests once a watcher is done."""

from __future__ import annotations

import os
from pathlib import Path


def below(pid: int | None = None) -> set[int]:
    """Every living process below this one, or below `pid`."""
    found: set[int] = set()
    new = {pid or os.getpid()}
    while new:
        new = {child for one in new for child in _children(one)} - found
        found |= new
    return {one for one in found if not _is_zombie(one)}


def described(pids: set[int]) -> dict[int, str]:
    """Their command lines, for the words of a failure."""
    return {pid: Path(f"/proc/{pid}/cmdline").read_text().replace("\x00", " ")[:200] for pid in pids if _lives(pid)}


def started_by(words: str) -> set[int]:
    """Every living process of the machine whose command line holds these words."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return {pid for pid in pids if words in described({pid}).get(pid, "")}


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        return [int(child) for one in threads for child in Path(f"/proc/{pid}/task/{one}/children").read_text().split()]
    except OSError:
        return []
