"""Connections that do not get on with their request are closed: uvicorn itself would wait for ever for the head of one,
and for somebody to read its answer."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr

from register.access.buckets import network_of
from register.crowd import FULL, FULL_OF_YOURS, Crowd
from register.settings import Settings


class Impatient(H11Protocol):
    """uvicorn's protocol with a limit of connections, and time limits for the head of each request, from the first byte
    of it, for the first byte of a connection, and for an answer of which nothing more is read. The body and the making
    of the answer have theirs in register/envelope.py."""

    settings: Settings
    crowd: Crowd
    _head_due: asyncio.TimerHandle | None = None
    _reading_due: asyncio.TimerHandle | None = None
    _stranger: asyncio.Task[None] | None = None
    network = ""
    """Where it comes from; empty until it has its place in the crowd."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.network:  # over TLS it has its place since before the handshake
            self.take_place(transport)
            if self.crowd.is_full:
                self._turn_away(FULL)
            elif self.crowd.is_filled_by(self.network):
                self._stranger = self.loop.create_task(self._turn_away_strangers())
        self._expect_head()

    def take_place(self, transport: asyncio.Transport) -> None:
        """Be counted, until `leave_place`."""
        self.network = network_of(_address_of(transport))
        self.crowd.come(self.network)

    def leave_place(self) -> None:
        self.crowd.go(self.network)

    async def is_from_proxy_or_near(self, transport: asyncio.Transport) -> bool:
        """Does it come from where any number may come from?"""
        return await self.crowd.know(_address_of(transport) or "")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._expect_head()  # a part of a head, or an empty line
        elif self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave_place()
        for due in (self._head_due, self._reading_due, self._stranger):
            if due is not None:
                due.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading_due = self.loop.call_later(self.settings.request_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading_due is not None:
            self._reading_due.cancel()

    async def _turn_away_strangers(self) -> None:
        if not await self.is_from_proxy_or_near(self.transport):
            self._turn_away(FULL_OF_YOURS)

    def _turn_away(self, words: str) -> None:
        self.transport.write(self.crowd.answer(words))
        self.transport.close()

    def _expect_head(self) -> None:
        if self._head_due is None:
            self._head_due = self.loop.call_later(self.settings.head_timeout_s, self._give_up)

    def _give_up(self) -> None:
        self._head_due = None
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self.send_400_response("The head of the request did not arrive in time.")
        else:
            self.transport.close()


def _address_of(transport: asyncio.Transport) -> str | None:
    client = get_remote_addr(transport)
    return client[0] if client else None


def impatient(settings: Settings) -> type[Impatient]:
    """The protocol of one service: its connections share a crowd."""
    return type("Impatient", (Impatient,), {"settings": settings, "crowd": Crowd(settings)})
