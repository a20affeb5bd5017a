"""How much of something everybody may have: a bucket of tokens for each key, refilled at a steady rate."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable


class Buckets:
    """At most `burst` at once and `per_s` a second, for each key. Of too many keys those are forgotten that have been
    silent for longest, so that the memory it takes is bounded. Belongs to one event loop."""

    def __init__(
        self, per_s: float, burst: float, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most = most
        self._clock = clock
        self._level: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Key -> what was left, and when that was."""

    def take(self, key: str) -> float:
        """Take one. Returns 0 if there was one, else after how many seconds there will be."""
        now, left = self._left(key)
        if left < 1:
            return (1 - left) / self._per_s
        self._put(key, left - 1, now)
        return 0.0

    def give_back(self, key: str) -> None:
        now, left = self._left(key)
        self._put(key, min(self._burst, left + 1), now)

    def _left(self, key: str) -> tuple[float, float]:
        now = self._clock()
        left, at = self._level.get(key, (self._burst, now))
        return now, min(self._burst, left + (now - at) * self._per_s)

    def _put(self, key: str, left: float, now: float) -> None:
        self._level[key] = left, now
        self._level.move_to_end(key)
        if len(self._level) > self._most:
            self._level.popitem(last=False)

    def __len__(self) -> int:
        return len(self._level)


def network_of(address: str | None) -> str:
    """What counts as one address: of version 6 the half that a provider gives to one customer."""
    try:
        found = ipaddress.ip_address((address or "").split("%")[0])
    except ValueError:
        return address or "?"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
