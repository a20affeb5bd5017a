"""Connections of requests that go to an address that was checked, and to no other."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError
from urllib3.util.connection import create_connection

from programs.guard import Guard

Told = Callable[[socket.socket], object]


class PinnedAdapter(HTTPAdapter):
    """Asks the guard for the addresses of each connection, and connects to one of them.

    The check is where the connection is made, behind every parser of URLs: what was checked is what is used, however
    the host was spelled. The Host header and the name in TLS stay those of the URL.
    """

    def __init__(self, guard: Guard, connected: Told = lambda made: None) -> None:
        """`connected` is told of each connection as soon as it is there."""
        self._guard = guard
        self._connected = connected
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _pinned(type(pool).ConnectionCls, self._guard, self._connected)
        return pool


def _pinned(kind: Any, guard: Guard, connected: Told) -> Any:
    class Pinned(kind):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:  # before TLS starts, so that a slow handshake is watched too
            made = _connect(self, guard.addresses(self._dns_host.strip("[]"), self.port))
            connected(made)
            return made

    return Pinned


def _connect(connection: Any, addresses: list[str]) -> socket.socket:
    """To the first that answers. Errors: OSError of the last, ConnectTimeoutError if that did not answer in time."""
    failure = OSError("the name has no address")
    for address in addresses:
        try:
            return create_connection(
                (address, connection.port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failure = error
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, f"{addresses[-1]} does not answer") from failure
    raise failure
