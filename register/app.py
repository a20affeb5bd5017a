"""Build the Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from engine.database import Database
from engine.definition.reading import Check
from engine.errors import PenstockError
from register import api
from register.access import administration, sessions
from register.access.gate import Gate
from register.access.guarded import guarded
from register.access.pages import ANSWERED_WITH, ASKED_WITH, check_origins
from register.access.provider import MissingExtra, Provider
from register.access.proxies import Forwarded, Proxies
from register.compat import synergy, waterflow
from register.endpoints import Endpoint
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
ACCESS = (*sessions.ENDPOINTS, *administration.ENDPOINTS)


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
    check_origins(settings.origins)
    endpoints = _endpoints(settings)
    if check is not None:
        check = _checked_here(check)
    document = describe(endpoints, _version())
    proxies = Proxies(settings.behind_proxy)

    def begin(app: Starlette) -> AbstractAsyncContextManager[None]:
        return _alive(app, db, settings, proxies, document, on_registered, check, programs)

    app = Starlette(
        routes=guarded(endpoint.route() for endpoint in endpoints),
        middleware=_middleware(settings, proxies),
        exception_handlers={PenstockError: _on_error, HTTPException: _on_error},
        lifespan=begin,
    )
    app.router.redirect_slashes = False  # a slash at the end of an id is the id's business
    return app


@asynccontextmanager
async def _alive(
    app: Starlette,
    db: Database,
    settings: Settings,
    proxies: Proxies,
    document: dict[str, Any],
    on_registered: Callable[[], None] | None,
    check: Check | None,
    programs: Programs | None,
) -> AsyncIterator[None]:
    """What the routes work with, from the start of the application to its end."""
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
    app.state.gate = Gate(settings, readers, proxies)
    commits.start()
    try:
        yield
    finally:
        await app.state.gate.close()
        await workers.close()
        await anyio.to_thread.run_sync(commits.stop, STOP_S)


def _endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    echo = (ECHO,) if settings.echo else ()
    compat = (*waterflow.ENDPOINTS, *synergy.ENDPOINTS) if settings.compat else ()
    return (*ENDPOINTS, *api.ENDPOINTS, *ACCESS, *_log_in(settings.provider), *compat, *echo)


def _log_in(provider: Provider | None) -> tuple[Endpoint, ...]:
    """Errors: MissingExtra."""
    if provider is None:
        return ()
    try:
        from register.access.oidc import LogIn
    except ModuleNotFoundError as error:
        raise MissingExtra() from error
    return LogIn(provider).endpoints


def _middleware(settings: Settings, proxies: Proxies) -> list[Middleware]:
    """From the outside to the inside."""
    found = [Middleware(Forwarded, proxies=proxies)] if proxies.are_there else []
    found.append(Middleware(Envelope, timeout_s=settings.request_timeout_s))
    if settings.origins:
        found.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.origins,
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=ASKED_WITH,
                expose_headers=ANSWERED_WITH,
                allow_credentials=False,  # other origins show tokens, never a cookie
            )
        )
    return found


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
