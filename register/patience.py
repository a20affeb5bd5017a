"""Connections that do not get on with their request are closed: uvicorn itself waits for a head for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def impatient(seconds: float) -> type[H11Protocol]:
    """uvicorn's protocol with a time limit for the head of each request, from the first byte of it, and for the first
    byte of a connection. The body and the answer have theirs in register/envelope.py."""

    class Impatient(H11Protocol):
        _head_due: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self._expect_head()  # a part of a head, or an empty line
            elif self._head_due is not None:
                self._head_due.cancel()
                self._head_due = None

        def connection_lost(self, exc: Exception | None) -> None:
            if self._head_due is not None:
                self._head_due.cancel()
            super().connection_lost(exc)

        def _expect_head(self) -> None:
            if self._head_due is None:
                self._head_due = self.loop.call_later(seconds, self._give_up)

        def _give_up(self) -> None:
            self._head_due = None
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self.send_400_response("The head of the request did not arrive in time.")
            else:
                self.transport.close()

    protocol: Any = Impatient
    return protocol  # type: ignore[no-any-return]
