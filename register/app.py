"""Build the Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from engine.database import Database
from engine.definition.reading import Check
from engine.errors import PenstockError
from register import api
from register.compat import synergy, waterflow
from register.envelope import Envelope
from register.group_commit import GroupCommit
from register.openapi import describe
from register.problems import answer_to
from register.readers import Readers
from register.routes import ECHO, ENDPOINTS
from register.service import Programs, Service
from register.settings import Settings
from register.waiting_workers import WaitingWorkers

STOP_S = 1.5


def create_app(
    db: Database,
    settings: Settings,
    *,
    on_registered: Callable[[], None] | None = None,
    check: Check | None = None,
    programs: Programs | None = None,
) -> Starlette:
    """The register over an open database; its thread lives from the application's start-up to its shut-down.

    `on_registered` is called, from that thread, after each commit that made flows: a hint for a watcher close by.
    `check` finds steps that no program fits; without it their programs are left to the watchers. `programs` lists those
    that are installed here.
    The database may be out of reach, now or later: requests are told so, and served again when it is back.
    """
    compat = (*waterflow.ENDPOINTS, *synergy.ENDPOINTS) if settings.compat else ()
    endpoints = (*ENDPOINTS, *api.ENDPOINTS, *compat, *((ECHO,) if settings.echo else ()))
    if check is not None:
        check = _checked_here(check)
    document = describe(endpoints, _version())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        readers = Readers(db, settings.max_queued)
        workers = WaitingWorkers(readers)

        def registered() -> None:
            workers.nudge()
            if on_registered is not None:
                on_registered()

        commits = GroupCommit(
            db,
            group_size=settings.group_size,
            max_queued=settings.max_queued,
            on_registered=registered,
            check=check,
        )
        app.state.service = Service(db, settings, commits, readers, document, workers, check, programs)
        commits.start()
        try:
            yield
        finally:
            await workers.close()
            await anyio.to_thread.run_sync(commits.stop, STOP_S)

    app = Starlette(
        routes=[endpoint.route() for endpoint in endpoints],
        middleware=[Middleware(Envelope, timeout_s=settings.request_timeout_s)],
        exception_handlers={PenstockError: _on_error, HTTPException: _on_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a slash at the end of an id is the id's business
    return app


def _checked_here(check: Check) -> Check:
    """Programs of Waterflow's workers are in nobody's catalogue."""
    return lambda step: [] if waterflow.knows(step.program) else check(step)


async def _on_error(request: Request, error: Exception) -> Response:
    return answer_to(request, error)


def _version() -> str:
    try:
        return version("penstock")
    except PackageNotFoundError:
        return "0"  # run from a checkout
