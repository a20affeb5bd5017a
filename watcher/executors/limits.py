"""What a child process may use, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """What a child may use. Units: bytes; 0 is no limit."""

    environment: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int = 0
    max_rss_bytes: int = 1024**3
    max_processes: int = 64
    max_tasks: int = 1000
