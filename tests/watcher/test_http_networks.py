"""An operator's list of internal networks reaches the programs, wherever they run; without it they are refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from factories import insert_task, task
from waiting import settled
from watching import Watch

from engine.database import Database
from engine.executors import PROCESS, THREAD
from engine.states import Reason, Status

pytestmark = pytest.mark.by_turns


@pytest.fixture
def address() -> Iterator[str]:
    """A server of this machine, as host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("executor", [THREAD, PROCESS])
def test_programs_may_go_where_the_watcher_was_told(db: Database, watch: Watch, address: str, executor: str) -> None:
    port = int(address.rpartition(":")[2])
    urls = f"http://{address}/", f"http://127.0.0.1:{port % 65535 + 1}/"
    common = {"program": "HTTPGetRequest", "executor": executor, "max_attempts": 3}
    allowed, other = (
        insert_task(db, f"flow {place}", parameters=json.dumps({"URL": url}), **common)
        for place, url in enumerate(urls)
    )
    watch(http_networks=(address,))
    settled(db, allowed, other)
    assert task(db, allowed).exec_status == Status.FINISH
    row = task(db, other)
    assert (row.exec_status, row.reason, row.attempt) == (Status.SUSPEND, Reason.FAILED, 1), "it is not tried again"
    assert "127.0.0.1 (loopback) is closed to programs" in row.error
    assert f"--http-network 127.0.0.1:{port % 65535 + 1}" in row.error
