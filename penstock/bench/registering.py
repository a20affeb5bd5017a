"""How many flows a register takes in: asked by one client or by many, or for many in one request."""

from __future__ import annotations

import asyncio
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from engine.database import Database
from penstock.bench.running import begun, until
from penstock.failures import CannotStart

HOST: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@contextmanager
def register(db: Database) -> Iterator[int]:
    """`penstock serve` in a process of its own; the port it listens on. Errors: CannotStart, TimedOut."""
    port = _free_port()
    process = begun(db, "serve", f"--port={port}")

    def is_up() -> bool:
        if process.poll() is not None:
            raise CannotStart("the register ended instead of serving")
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            return False
        return True

    try:
        until(is_up, "the register answers", 60.0)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def one_by_one(port: int, task_id: str, count: int, clients: int) -> list[float]:
    """Register `count` flows, each by a request of its own, over as many connections as there are clients. Seconds that
    each answer took, in no order. Errors: RuntimeError for an answer that is not 200."""
    request = f"POST /register/{task_id} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 0\r\n\r\n".encode()
    left = iter(range(count))
    took: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        for _ in left:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            await reader.readexactly(int(length[1]) if length else 0)
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(head.split(b"\r\n", 1)[0].decode())
            took.append(time.perf_counter() - began)
        writer.close()
        await writer.wait_closed()

    async def all_of_them() -> None:
        await asyncio.gather(*(client() for _ in range(clients)))

    asyncio.run(all_of_them())
    return took


def at_once(port: int, task_id: str, count: int) -> None:
    """Register `count` flows by one request of so many lines. Errors: those of urllib."""
    headers = {"Content-Type": "application/x-ndjson"}
    url = f"http://{HOST}:{port}/register/{task_id}"
    with urllib.request.urlopen(urllib.request.Request(url, b"{}\n" * count, headers)) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: not all were registered")


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
