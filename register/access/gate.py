"""The gate before every path that has a role: who asks, may they, from such a page, and so often?"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.routing import Route

from engine.access import Actor, Role
from engine.tokens import SESSION, Holder
from register import problems
from register.access import pages
from register.access.aside import Aside
from register.access.buckets import Buckets, network_of
from register.access.credentials import NO_GOOD, Shown, shown_by
from register.access.exposure import is_own_address
from register.access.lookups import Lookups
from register.access.proxies import Proxies
from register.access.refusals import Refusals, TooMany, Unauthenticated
from register.actors import DOOR, HOLDER, SCOPE, anonymous, nobody
from register.problems import Refused
from register.readers import Readers
from register.settings import Settings

FAILED_PER_S: Final = 0.5
FAILED_BURST: Final = 30
"""Tokens from one address that turn out to be no good."""
OPEN_PER_S: Final = 20.0
OPEN_BURST: Final = 100
"""Changes from one address by paths that are open: call-backs and log-ins."""
LOGINS_PER_S: Final = 0.2
LOGINS_BURST: Final = 30
"""Sessions of one token or person: each is a row."""
STOP_S: Final = 1.0
SHOWN: Final = "penstock.shown"
"""Where the request's scope holds what it showed."""


class Gate:
    """One for an application, from its start to its end. Belongs to one event loop."""

    def __init__(self, settings: Settings, readers: Readers, proxies: Proxies) -> None:
        self.settings = settings
        self.needs_token = settings.needs_token
        self.aside = Aside(readers)
        self._proxies = proxies
        self._lookups = Lookups(readers, self.aside, settings.session_idle_s)
        self._refusals = Refusals(self.aside)
        self._failures = Buckets(FAILED_PER_S, FAILED_BURST)
        self._open = Buckets(OPEN_PER_S, OPEN_BURST)
        self.logins = Buckets(LOGINS_PER_S, LOGINS_BURST)
        per_s = settings.writes_per_s
        self._writes = Buckets(per_s, max(1.0, per_s)) if per_s else None

    async def admit(self, request: Request, route: Route, role: Role) -> None:
        """Let the request through, with its actor in its scope. Errors: Refused; those of the database."""
        changes = request.method not in pages.SAFE
        try:
            if self.needs_token:
                actor = await self._known(request, changes)
                self._check_rate(request, changes)
            else:
                self._check_open(request, changes)
                actor = anonymous(request)
            if not actor.role.covers(role):
                raise Refused(problems.FORBIDDEN, f"this takes the role {role}: {actor.name!r} is {actor.role}")
        except Refused as error:
            if changes:
                self.note(request, route.path, error)
            raise
        request.scope[SCOPE] = actor

    def admit_anybody(self, request: Request) -> None:
        """Let a request through to a path that is open. Errors: TooMany."""
        if self.needs_token and request.method not in pages.SAFE and (wait_s := self._open.take(_network(request))) > 0:
            raise TooMany("more was asked for than this service takes from one address without a token", wait_s)
        request.scope[SCOPE] = nobody(request)

    def note(self, request: Request, path: str, error: Refused, name: str | None = None) -> None:
        """Leave a record of a refusal. `name`: who was refused, where it is no token that says so."""
        if not isinstance(error, TooMany) and error.kind.code < 500:
            self._refusals.note(request, path, error, name)

    async def still_good(self, request: Request) -> bool:
        """Is what a request showed when it was let in good still? For answers that go on for long."""
        shown: Shown | None = request.scope.get(SHOWN)
        return shown is None or await self._lookups.holder(shown.hashed) is not None

    async def identify(self, request: Request, shown: Shown) -> Holder:
        """Whose it is. Errors: Unauthenticated; TooMany for an address that has guessed too often."""
        address, is_new = _network(request), False
        if not self._lookups.knows(shown.hashed):
            is_new = True
            self._count_failure(address)
        holder = await self._lookups.holder(shown.hashed)
        if holder is None or holder.kind != shown.kind:
            raise Unauthenticated(NO_GOOD, is_wrong=True)
        if is_new:
            self._failures.give_back(address)
        return holder

    def count_failure(self, request: Request) -> None:
        """Something was shown that is no good. Errors: TooMany for an address that has done so too often."""
        self._count_failure(_network(request))

    async def close(self) -> None:
        await self.aside.close(STOP_S)

    async def _known(self, request: Request, changes: bool) -> Actor:
        try:
            shown = shown_by(request)
        except Unauthenticated as error:
            if "invalid_token" in error.headers["WWW-Authenticate"]:
                self._count_failure(_network(request))
            raise
        holder = await self.identify(request, shown)
        request.scope[HOLDER], request.scope[SHOWN] = holder, shown
        if shown.kind == SESSION and changes:
            _check_page(request, shown)
        address = request.client.host if request.client else None
        return Actor(holder.name, holder.role, holder.reach, DOOR, address, request.scope.get("request_id"))

    def _check_open(self, request: Request, changes: bool) -> None:
        """Nobody is asked for a token: then at least no page of another site may use somebody's browser to get in."""
        is_brought = self._proxies.brought(request.scope)
        if self._proxies.are_there and not is_brought and not _is_near(request):
            raise Refused(problems.FORBIDDEN, "only what comes through the proxy in front is let in")
        if not is_brought and pages.is_strange_host(request):
            words = "this service is asked for by addresses of its own machine; another name takes --auth"
            raise Refused(problems.WRONG_HOST, words)
        if changes and not pages.is_let_in(request, self.settings.origins):
            raise Refused(problems.CROSS_SITE, "a page of another site may not change anything here (--allow-origin)")

    def _check_rate(self, request: Request, changes: bool) -> None:
        if not changes or self._writes is None:
            return
        holder: Holder = request.scope[HOLDER]
        for key in (holder.token_id, _network(request)):
            if (wait_s := self._writes.take(key)) > 0:
                raise TooMany("more changes were asked for than this service takes from one token or address", wait_s)

    def _count_failure(self, address: str) -> None:
        if (wait_s := self._failures.take(address)) > 0:
            raise TooMany("too many tokens that are no good came from this address", wait_s)


def _check_page(request: Request, shown: Shown) -> None:
    """A browser sends its cookie whoever's page asks. Errors: Refused."""
    if not pages.is_own_page(request):
        words = "with a cookie, only a page of this service's own origin may change anything"
        raise Refused(problems.CROSS_SITE, words)
    if not pages.has_csrf(request, shown.secret):
        words = f"with a cookie, a change takes the header {pages.CSRF_HEADER}: `csrf` of GET /api/v1/session"
        raise Refused(problems.CROSS_SITE, words)


def _network(request: Request) -> str:
    return network_of(request.client.host if request.client else None)


def _is_near(request: Request) -> bool:
    return request.client is not None and is_own_address(request.client.host)
