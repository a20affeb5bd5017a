"""A wire between a client and a database server that a test can cut."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from typing import Any

from sqlalchemy import make_url


class Proxy:
    """Forwards connections to the server behind `url`; `cut` and `drop_commits` are what networks do."""

    def __init__(self, url: str, *, at: str = "127.0.0.1") -> None:
        parsed = make_url(url)
        assert parsed.host is not None
        assert parsed.port is not None
        self._target = (parsed.host, parsed.port)
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._is_cut = False
        self._closed = False
        self._drop = 0
        self.dropped = 0
        """How many answers to COMMIT were dropped."""
        self._delay_s = 0.0
        self._swallow = 0
        self._cut_in: int | None = None
        self._listener = socket.create_server((at, 0))
        self.url = parsed.set(host=at, port=self._listener.getsockname()[1]).render_as_string(hide_password=False)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Break every connection, and accept none until `mend`."""
        with self._lock:
            self._is_cut = True
            for pair in self._pairs:
                _break(pair)

    def mend(self) -> None:
        self._is_cut = False

    def drop_commits(self, count: int, *, delay_s: float = 0.0) -> None:
        """Let the next COMMITs reach the server, but not their answers: the connection breaks instead. With a delay
        they reach it so many seconds after it broke: whoever reads back at once finds nothing."""
        with self._lock:
            self._drop += count
            self._delay_s = delay_s

    def swallow_commits(self, count: int) -> None:
        """Break the connection instead of forwarding the next COMMITs."""
        with self._lock:
            self._swallow += count

    def cut_in(self, messages: int) -> None:
        """Break one connection instead of forwarding what a client sends as the message of this number, from 1; with
        0, no longer."""
        with self._lock:
            self._cut_in = messages or None

    @property
    def is_to_cut(self) -> bool:
        """Is that message still to come?"""
        return self._cut_in is not None

    @property
    def dropping(self) -> int:
        """How many answers are still to be dropped."""
        return self._drop + self._swallow

    def close(self) -> None:
        self._closed = True
        self.cut()
        with contextlib.suppress(OSError):  # wakes the accepting thread
            socket.create_connection(self._listener.getsockname()).close()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closed:
                client.close()
                return
            if self._is_cut:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            thread = threading.Thread(target=self._carry, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        try:
            self._forward(client, server)
        except OSError:
            pass
        finally:
            with self._lock:
                self._pairs = [pair for pair in self._pairs if pair[0] is not client]
            client.close()
            server.close()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65_536)
                if not data:
                    return
                if source is server:
                    client.sendall(data)
                    continue
                if self._breaks(data):
                    _reset(client)
                    return
                if _IS_COMMIT.search(data) and self._takes():
                    self._commit_unheard(client, server, data)
                    return
                server.sendall(data)

    def _commit_unheard(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        if self._delay_s:
            _reset(client)
            time.sleep(self._delay_s)
        server.sendall(data)
        server.recv(65_536)  # the server has done it
        if not self._delay_s:
            _reset(client)

    def _breaks(self, data: bytes) -> bool:
        with self._lock:
            if self._cut_in is not None:
                self._cut_in = self._cut_in - 1 or None
                if self._cut_in is None:
                    return True
            if self._swallow > 0 and _IS_COMMIT.search(data):
                self._swallow -= 1
                self.dropped += 1
                return True
        return False

    def _takes(self) -> bool:
        with self._lock:
            if self._drop <= 0:
                return False
            self._drop -= 1
            self.dropped += 1
            return True


_IS_COMMIT = re.compile(rb"\bCOMMIT\b")


def _break(pair: tuple[socket.socket, socket.socket]) -> None:
    for end in pair:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    client.close()
