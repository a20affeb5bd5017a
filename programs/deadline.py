"""A time limit on an HTTP exchange as a whole."""

import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

from requests.adapters import HTTPAdapter


class Deadline:
    """Cuts all watched connections when the time is up.

    A read timeout is not enough: it starts anew with every byte, so a server that sends one byte a second, in a body
    or in a header, holds the caller for ever.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self._timer = threading.Timer(timeout_s, self._cut)
        self._timer.daemon = True
        self._connections: list[Any] = []
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
        self._timer.join()  # after this nobody touches the sockets, whose numbers may be given out again

    def left(self) -> float:
        """Seconds until the end; raises TimeoutError after it."""
        left = self._end - time.monotonic()
        if left <= 0 or self.passed:
            raise TimeoutError
        return left

    def watch(self, connection: Any) -> None:
        self.left()
        self._connections.append(connection)

    def _cut(self) -> None:
        self.passed = True
        for connection in list(self._connections):
            try:
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # not TLS's own, which is for its one user
            except (OSError, TypeError):  # closed, or not connected yet
                continue


class WatchedAdapter(HTTPAdapter):
    """Tells the deadline of every connection that is opened."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _watched(type(pool).ConnectionCls, self._deadline)
        return pool


def _watched(kind: Any, deadline: Deadline) -> Any:
    class Watched(kind):  # type: ignore[misc]
        def connect(self) -> None:
            deadline.watch(self)
            super().connect()

    return Watched
