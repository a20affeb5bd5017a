"""What the routes work with, from the start of the application to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request

from engine.database import Database
from engine.definition.reading import Check
from register.following import Following
from register.group_commit import GroupCommit
from register.readers import Readers
from register.settings import Settings
from register.waiting_workers import WaitingWorkers

T = TypeVar("T")
Programs = Callable[[], Sequence[dict[str, Any]]]
"""The programs that are installed where the service runs, each as a document."""


@dataclass(frozen=True)
class Service:
    """One for each application."""

    db: Database
    settings: Settings
    commits: GroupCommit
    readers: Readers
    document: dict[str, Any]
    """The OpenAPI description."""
    workers: WaitingWorkers
    """Remote workers that wait for work."""
    check: Check | None = None
    programs: Programs | None = None
    following: Following = field(init=False)
    counts: dict[str, tuple[float, dict[str, int]]] = field(default_factory=dict)
    """Counts that are asked for again and again, each with the time until which it will do."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server stops: whoever waits or streams ends then."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "following", Following(self.readers))

    def close(self) -> None:
        """The server stops: tell those who wait or follow."""
        self.closing.set()
        self.following.end()
        self.workers.end()


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def read(request: Request, work: Callable[[Any], T]) -> T:
    """Read from the database, off the event loop; `work` is given a connection."""

    def asked(db: Database) -> T:
        with db.read() as conn:
            return work(conn)

    return await service_of(request).readers.run(asked)
