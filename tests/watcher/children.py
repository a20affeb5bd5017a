"""What is left of child processes: asked by tests once a watcher is done."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def below(pid: int | None = None) -> set[int]:
    """Every living process of Python's below this one, or below `pid`: servers that tests start are none."""
    found: set[int] = set()
    new = {pid or os.getpid()}
    while new:
        new = {child for one in new for child in _children(one)} - found
        found |= new
    return {one for one in found if not _is_zombie(one) and "python" in described({one}).get(one, "")}


def described(pids: set[int]) -> dict[int, str]:
    """Their command lines, for the words of a failure."""
    found: dict[int, str] = {}
    for pid in pids:
        with suppress(OSError):  # gone meanwhile
            found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\x00", " ")[:200]
    return {pid: words for pid, words in found.items() if words}


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
