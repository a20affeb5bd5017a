"""The wire between one process and its database, and everything that can happen to it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

from proxy import _IS_COMMIT, Proxy, _break, _reset


class Wire(Proxy):
    """A proxy that also delays, throttles, falls silent both ways (`frozen`), or loses the answers (`one_way`)."""

    def __init__(self, url: str) -> None:
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self._flowing = threading.Event()
        self._flowing.set()
        self._one_way = False
        self._deaf: list[tuple[socket.socket, socket.socket]] = []
        super().__init__(url)

    def freeze(self) -> None:
        """Carry nothing, but break no connection: what a host sees whose peer fell silent."""
        self._flowing.clear()

    def one_way(self) -> None:
        """Requests arrive, answers are lost."""
        self._one_way = True

    def mend(self) -> None:
        """As before. Connections that lost an answer are broken: their two ends no longer agree."""
        self.delay_s = self.bytes_per_s = 0.0
        self._one_way = False
        with self._lock:
            self._drop = 0
            for pair in self._deaf:
                _break(pair)
            self._deaf.clear()
        self._flowing.set()
        super().mend()

    def close(self) -> None:
        self._closed = True
        self._flowing.set()
        super().close()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65_536)
                self._linger(len(data))
                if not data:
                    return
                if source is server:
                    self._answer(client, server, data)
                    continue
                server.sendall(data)
                if _IS_COMMIT.search(data) and self._takes():
                    server.recv(65_536)  # the server has done it
                    _reset(client)
                    return

    def _linger(self, size: int) -> None:
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.bytes_per_s:
            time.sleep(size / self.bytes_per_s)
        self._flowing.wait()

    def _answer(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        if not self._one_way:
            client.sendall(data)
            return
        with self._lock, contextlib.suppress(ValueError):
            if (client, server) not in self._deaf:
                self._deaf.append((client, server))
