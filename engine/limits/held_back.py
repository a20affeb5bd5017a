"""What a watcher remembers of claims that limits cut short: when to ask again, and where it need not look so soon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from engine.keys import Key
from engine.limits.room import Room
from engine.limits.rows import Name

REST = 10
"""A look past full limits that found nothing is repeated after this many times as long as it took: however many tasks
are held back, a tenth of the time at most goes into reading over them."""


@dataclass
class Look:
    """One look for candidates."""

    found_nothing: bool = False


@dataclass
class HeldBack:
    """Owned by one watcher, and written by each of its claims."""

    full: bool = False
    """After the last claim some limit let nothing more start."""
    cut_short: bool = False
    """The last claim took less than it wanted while limits were in force."""
    free_in_s: float | None = None
    """Seconds from the last claim until a rate that held something back lets it start; None if no rate did."""
    unreachable: set[Key] = field(default_factory=set)
    """Ready rows that cannot be claimed: they must not stand before those that can."""
    _nothing: dict[str, tuple[frozenset[Name], float]] = field(default_factory=dict)

    def forget(self) -> None:
        """A new claim begins, of which nothing is known yet."""
        self.full, self.cut_short, self.free_in_s = False, False, None

    def note(self, room: Room, *, claimed: int, wanted: int) -> None:
        """What a claim under limits came to."""
        self.full, self.cut_short = bool(room.shut()), claimed < wanted
        self.free_in_s = room.free_in_s() if self.cut_short else None

    def knows(self, queue: str, shut: frozenset[Name]) -> bool:
        """Was nothing found a moment ago outside these limits, or outside fewer?"""
        before, until = self._nothing.get(queue, (frozenset(), 0.0))
        return time.monotonic() < until and before <= shut

    @contextmanager
    def looking(self, queue: str, shut: frozenset[Name]) -> Iterator[Look]:
        """Time a look for tasks outside these limits."""
        look = Look()
        began = time.monotonic()
        yield look
        if look.found_nothing and shut:
            now = time.monotonic()
            self._nothing[queue] = shut, now + REST * (now - began)
