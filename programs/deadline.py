"""A time limit on an HTTP exchange as a whole."""

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self


class Deadline:
    """Cuts all its connections when the time is up.

    A read timeout is not enough: it starts anew with every byte, so a server that sends one byte a second, in a body
    or in a header, holds the caller for ever.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self._timer = threading.Timer(timeout_s, self._cut)
        self._timer.daemon = True
        self._sockets: list[socket.socket] = []
        self.passed = False

    def __str__(self) -> str:
        return f"no complete answer within {self._timeout_s:g} s"

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        for watched in self._sockets:
            watched.close()

    def left(self) -> float:
        """Seconds until the end; raises TimeoutError after it."""
        left = self._end - time.monotonic()
        if left <= 0 or self.passed:
            raise TimeoutError
        return left

    def watch(self, connected: socket.socket) -> None:
        # A duplicate: http.client lets go of the socket, and TLS takes it over, while somebody still reads from it.
        self._sockets.append(connected.dup())
        self.left()  # the timer may have rung just before

    def _cut(self) -> None:
        self.passed = True
        for watched in list(self._sockets):
            with suppress(OSError):  # closed by the server meanwhile
                watched.shutdown(socket.SHUT_RDWR)
