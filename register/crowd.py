"""How many connections are open at once: over all, and from one address, so that nobody can take them all."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from typing import Final

from register.access.exposure import is_own_address
from register.access.proxies import Proxies
from register.envelope import new_request_id
from register.problems import RETRY_AFTER_S, Busy, problem_of
from register.settings import Settings

log = logging.getLogger("penstock.register")
SAY_EVERY_S: Final = 10.0
FULL: Final = "too many connections are open"
FULL_OF_YOURS: Final = "too many connections from this address are open"


class Crowd:
    """Belongs to one event loop. A limit of 0 is none."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.max_connections
        self._most_each = settings.max_connections_each
        self._proxies = Proxies(settings.behind_proxy)
        self._from: Counter[str] = Counter()
        self._said_at = -SAY_EVERY_S

    def come(self, network: str) -> None:
        self._from[network] += 1

    def go(self, network: str) -> None:
        self._from[network] -= 1
        if not self._from[network]:
            del self._from[network]

    @property
    def is_full(self) -> bool:
        return 0 < self._most < self._from.total()

    def is_filled_by(self, network: str) -> bool:
        return 0 < self._most_each < self._from[network]

    async def know(self, address: str) -> bool:
        """Is it the proxy's, which brings the connections of many, or of this very machine?"""
        return is_own_address(address) or await self._proxies.know(address)

    def answer(self, words: str) -> bytes:
        """What somebody is told for whom there is no room, and the end of the connection."""
        self.note(words)
        body = json.dumps(problem_of(Busy(words), new_request_id())).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nRetry-After: {RETRY_AFTER_S}\r\n"
            "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body

    def note(self, words: str) -> None:
        """Say in the log, at times, that somebody was turned away."""
        if time.monotonic() >= self._said_at + SAY_EVERY_S:
            self._said_at = time.monotonic()
            log.warning("a connection was turned away: %s (%d are open)", words, self._from.total())
