"""What a gate answers, and the record of it, which no flood of requests can fill."""

from __future__ import annotations

import logging
import math
from typing import Any, Final

from starlette.requests import Request

from engine import history
from engine.tokens import Holder
from register import problems
from register.access.aside import Aside
from register.access.buckets import Buckets, network_of
from register.actors import HOLDER
from register.problems import Refused

log = logging.getLogger("penstock.access")
EVENT: Final = "access refused"
NOBODY: Final = "anonymous"


class Unauthenticated(Refused):
    """Nobody knows who asks. `is_wrong`: something was shown that is no good."""

    def __init__(self, detail: str, *, is_wrong: bool = False) -> None:
        super().__init__(problems.UNAUTHENTICATED, detail)
        error = ', error="invalid_token"' if is_wrong else ""
        self.headers = {"WWW-Authenticate": f'Bearer realm="penstock"{error}'}


class TooMany(Refused):
    """Come back later. Units: seconds."""

    def __init__(self, detail: str, seconds: float) -> None:
        super().__init__(problems.TOO_MANY_REQUESTS, detail)
        self.headers = {"Retry-After": str(max(1, math.ceil(seconds)))}


class Refusals:
    """An event for each refusal of a request that would have changed something: a few a minute for each address, and
    one a second of all; the next one says how many were left out. Belongs to one event loop."""

    def __init__(self, aside: Aside) -> None:
        self._aside = aside
        self._of_address = Buckets(10 / 60, 10)
        self._of_all = Buckets(1, 60)
        self._left_out = 0

    def note(self, request: Request, path: str, error: Refused, name: str | None = None) -> None:
        """`name`: who was refused, where it is no token that says so."""
        holder: Holder | None = request.scope.get(HOLDER)
        address = request.client.host if request.client else None
        if self._of_address.take(network_of(address)) or self._of_all.take(""):
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        details: dict[str, Any] = {
            "operation": f"{request.method} {path}",
            "why": error.kind.name,
            "address": address,
            "request_id": request.scope.get("request_id"),
            **({"left_out": left_out} if left_out else {}),
        }
        if name is None:
            name = NOBODY if holder is None else holder.name
        log.warning("refused: %s", error.kind.name, extra={"actor": name, **details})
        event = history.Event(EVENT, None, None, name, details)
        self._aside.write(lambda conn: history.record(conn, [event]))
