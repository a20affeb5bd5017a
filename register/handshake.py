"""Connections over TLS are counted from their accept on, and a handshake is waited for no longer than the head of a
request: asyncio itself would give it a minute, and tell nobody of the connection meanwhile."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from register.crowd import FULL, FULL_OF_YOURS
from register.patience import Impatient, impatient
from register.settings import Settings


def spoken(settings: Settings) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of each connection, as uvicorn asks for it: HTTP, behind a handshake where there is TLS.

    Errors: OSError, ssl.SSLError for a certificate or a key that cannot be used.
    """
    http = impatient(settings)
    if settings.tls_cert is None:
        return http
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return lambda **given: Handshake(http(**given), context)


class Handshake(asyncio.Protocol):
    """Stands at a connection until TLS is agreed upon, and then hands it over. Nobody is told why there is no room:
    that would take the handshake."""

    _transport: asyncio.Transport
    _task: asyncio.Task[None]
    _is_over = False
    _is_lost = False

    def __init__(self, http: Impatient, context: ssl.SSLContext) -> None:
        self._http = http
        self._context = context
        self._early = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.pause_reading()  # what comes is for TLS, which is not there yet
        self._transport = transport
        self._http.connections.add(self)  # type: ignore[arg-type]  # a stop of the service ends it too
        self._http.take_place(transport)
        crowd = self._http.crowd
        if crowd.is_full:
            self._end(FULL)
        else:
            is_filled = crowd.is_filled_by(self._http.network)
            self._task = self._http.loop.create_task(self._agree(is_filled))

    def data_received(self, data: bytes) -> None:
        """What came with the last message of the handshake."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_over:  # it was lost before it was handed over, and is told of it after
            self._http.connection_lost(exc)
        self._is_lost = True

    def shutdown(self) -> None:
        """As uvicorn stops each connection."""
        self._transport.abort()

    async def _agree(self, is_filled: bool) -> None:
        if is_filled and not await self._http.is_from_proxy_or_near(self._transport):
            self._end(FULL_OF_YOURS)
            return
        patience_s = self._http.settings.head_timeout_s
        secured = None
        try:
            if not self._transport.is_closing():
                secured = await self._http.loop.start_tls(
                    self._transport,
                    self,
                    self._context,
                    server_side=True,
                    ssl_handshake_timeout=patience_s,
                    ssl_shutdown_timeout=patience_s,
                )
        except OSError:  # no TLS, or not in time
            secured = None
        if secured is None or self._is_lost:
            self._end()
        else:
            self._hand_over(secured)

    def _hand_over(self, secured: asyncio.Transport) -> None:
        self._is_over = True
        self._http.connections.discard(self)
        secured.set_protocol(self._http)
        self._http.connection_made(secured)
        if self._early:
            self._http.data_received(bytes(self._early))

    def _end(self, words: str | None = None) -> None:
        self._http.connections.discard(self)
        self._http.leave_place()
        self._transport.abort()
        if words is not None:
            self._http.crowd.note(words)
