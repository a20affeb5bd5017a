"""Routes that say which role they take. The gate is a part of the route, so that no path has none by mistake."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from engine.access import Role
from register.access.gate import Gate

OPEN = None
"""The role of a path that is for everybody, which has to be said."""


class GuardedRoute(Route):
    """Asks the gate (`app.state.gate`) after it was found and before anything behind it runs."""

    def __init__(self, path: str, endpoint: Any, *, methods: list[str], role: Role | None) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.role = role
        self.all_methods = set(self.methods or ())
        """Of all routes with this path."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.methods and scope["method"] not in self.methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self.all_methods))})
        gate: Gate = scope["app"].state.gate
        request = Request(scope, receive)
        if self.role is OPEN:
            gate.admit_anybody(request)
        else:
            await gate.admit(request, self, self.role)
        await super().handle(scope, receive, send)


def guarded(routes: Iterable[BaseRoute]) -> list[GuardedRoute]:
    """The routes of an application. Errors: TypeError for one that does not say which role it takes."""
    checked: list[GuardedRoute] = []
    for route in routes:
        if not isinstance(route, GuardedRoute):
            raise TypeError(f"{route!r} does not say which role it takes: make it a GuardedRoute")
        checked.append(route)
    for route in checked:
        route.all_methods = {method for other in checked if other.path == route.path for method in other.methods or ()}
    return checked
