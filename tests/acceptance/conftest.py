"""A user at the keyboard: processes, HTTP, and plain SQL."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # workshop, example_rows

from processes import Service
from workshop import Workshop

from engine.database import Database

Penstock = Callable[..., Service]


@pytest.fixture
def penstock(tmp_path: Path) -> Iterator[Penstock]:
    """`penstock("up", "--db", url, ...)` starts a process, which ends with the test."""
    with ExitStack() as stack:

        def start(*arguments: object) -> Service:
            log = tmp_path / f"{arguments[0]}-{len(list(tmp_path.glob('*.log')))}.log"
            return stack.enter_context(Service(log, *arguments))

        yield start


@pytest.fixture
def shop(db: Database) -> Workshop:
    """Programs that keep a record of what they did, and watchers that run them."""
    return Workshop(db)


class Receiver:
    """A service of somebody else: it keeps what was posted to it."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.refusals = 0
        """How many requests are still answered 503."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.headers["Content-Type"], body))
                self.answer(b"ok")

            def do_GET(self) -> None:
                self.answer(b"")

            def answer(self, content: bytes) -> None:
                self.send_response(503 if receiver.refusals > 0 else 200)
                receiver.refusals -= 1
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/todo"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()
