"""Who asks, for a request that has been let in."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from starlette.requests import Request

from engine.access import Actor, Reach, Role

DOOR: Final = "http"
SCOPE: Final = "penstock.actor"
"""Where the request's scope holds the actor, once it is known who asks."""
HOLDER: Final = "penstock.holder"
"""Where it holds whose token or session was shown."""
ANONYMOUS: Final = "http"
"""Who asks, where nobody has to say so: on a service that only its own machine can reach."""
NOTHING: Final = Reach(())


def actor_of(request: Request) -> Actor:
    """The actor of a request. The gate has put it there; a path without a gate has none (KeyError)."""
    known: Actor = request.scope[SCOPE]
    return known


def anonymous(request: Request) -> Actor:
    """Who asks where everybody may do everything, as nobody has to say who asks."""
    address = request.client.host if request.client else None
    return Actor(ANONYMOUS, Role.ADMIN, door=DOOR, address=address, request_id=request.scope.get("request_id"))


def nobody(request: Request) -> Actor:
    """Who asks for what is open to everybody: there is nothing else that they may do."""
    return replace(anonymous(request), role=Role.VIEWER, reach=NOTHING)


def registered_by(request: Request) -> str | None:
    """Who registers a flow, where that was asked for."""
    return actor_of(request).name if HOLDER in request.scope else None
