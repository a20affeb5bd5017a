"""What a child process may use, and what it is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


def _cores_beside_one() -> int:
    """How many cores this process may use, without the one that the loop of the watcher wants; at least one."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


@dataclass(frozen=True)
class Limits:
    """What a child may use. Units: bytes; 0 is no limit. `max_starting`: how many may be started at a time."""

    environment: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 0
    max_rss_bytes: int = 1024**3
    max_processes: int = 64
    max_tasks: int = 1000
    max_starting: int = field(default_factory=_cores_beside_one)
