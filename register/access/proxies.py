"""The proxy in front: what it alone may say of where a request came from."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
AGAIN_S: Final = 10.0
"""A name is looked up again no sooner: containers change their addresses."""
BROUGHT: Final = "penstock.proxied"


class Proxies:
    """Who they are, by name, address or network."""

    def __init__(self, given: Sequence[str]) -> None:
        self._networks: list[Network] = []
        self._names: list[str] = []
        for one in given:
            try:
                self._networks.append(ipaddress.ip_network(one, strict=False))
            except ValueError:
                self._names.append(one)
        self._resolved: frozenset[str] = frozenset()
        self._asked_at = -AGAIN_S

    @property
    def are_there(self) -> bool:
        return bool(self._networks or self._names)

    async def know(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.split("%")[0])
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        if any(found in network for network in self._networks) or str(found) in self._resolved:
            return True
        if self._names and time.monotonic() >= self._asked_at + AGAIN_S:
            self._asked_at = time.monotonic()
            self._resolved = await asyncio.get_running_loop().run_in_executor(None, _addresses_of, self._names)
        return str(found) in self._resolved

    @staticmethod
    def brought(scope: Scope) -> bool:
        """Did one of them hand on this request?"""
        return bool(scope.get(BROUGHT))


def _addresses_of(names: Sequence[str]) -> frozenset[str]:
    found: set[str] = set()
    for name in names:
        try:
            found |= {str(address[0]) for *_, address in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
        except (OSError, UnicodeError):
            continue
    return frozenset(found)


class Forwarded:
    """ASGI middleware: address and scheme as the proxy says them, and as the connection has them otherwise."""

    def __init__(self, app: ASGIApp, *, proxies: Proxies) -> None:
        self.app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client") and await self._proxies.know(scope["client"][0]):
            scope = {**scope, **_said(scope), BROUGHT: True}
        await self.app(scope, receive, send)


def _said(scope: Scope) -> dict[str, Any]:
    """What the nearest proxy added: earlier entries are whatever the client made up."""
    said: dict[str, Any] = {}
    values = {b"x-forwarded-for": "", b"x-forwarded-proto": ""}
    for name, value in scope["headers"]:
        if name in values:
            values[name] = value.decode("latin-1").rpartition(",")[2].strip()
    with contextlib.suppress(ValueError):
        said["client"] = str(ipaddress.ip_address(values[b"x-forwarded-for"])), 0
    if values[b"x-forwarded-proto"].lower() in ("http", "https"):
        said["scheme"] = values[b"x-forwarded-proto"].lower()
    return said
