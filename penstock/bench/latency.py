"""How soon a single task starts on an idle system: registered in the watcher's process, or by a POST to it."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles

from engine.database import Database
from engine.flows import Registration, register
from penstock import services
from penstock.bench.shapes import Shape
from penstock.failures import TimedOut
from programs.catalogue import build_catalogue
from programs.contract import program
from register.app import create_app
from watcher.loop import Watcher
from watcher.settings import Settings

PROGRAM = "PenstockBenchNote"
STEP = Shape("latency", 1, program=PROGRAM)
WARM_UP = 20
"""Submissions before the first that counts: statements are compiled, and connections made."""
MOST_S = 10.0


class Latencies:
    """An idle watcher in this process, whose one program notes when it starts."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._started = threading.Event()
        self._started_at = 0.0

        @program(PROGRAM)
        def note() -> None:
            """Notes when it starts."""
            self._started_at = time.perf_counter()
            self._started.set()

        self._watcher = Watcher(db, build_catalogue(extra=[note], autoload=False), Settings())

    def direct(self, samples: int) -> list[float]:
        """Seconds from the call to the start of the program, registered without HTTP."""
        with self._watching():
            return self._measure(samples, self._register)

    def posted(self, samples: int) -> list[float]:
        """Seconds from a POST, on one connection that is kept, to the start of the program."""
        settings = services.server_settings(port=0)
        app = create_app(self._db, settings, on_registered=self._watcher.wake)
        with services.background(app, settings) as server, self._watching():
            connection = http.client.HTTPConnection(server.url.removeprefix("http://"))

            def post() -> None:
                connection.request("POST", f"/register/{STEP.name}")
                connection.getresponse().read()

            try:
                return self._measure(samples, post)
            finally:
                connection.close()

    def _register(self) -> None:
        self._db.transact(lambda conn: register(conn, self._db, [Registration(STEP.name)]), repeated=True)
        self._watcher.wake()

    def _measure(self, samples: int, submit: Callable[[], None]) -> list[float]:
        found = []
        for _ in range(WARM_UP + samples):
            time.sleep(random.uniform(0.01, 0.03))  # it is idle, and at no fixed place between its looks
            self._started.clear()
            began = time.perf_counter()
            submit()
            if not self._started.wait(MOST_S):
                raise TimedOut(f"a task did not start within {MOST_S:g} s")
            found.append(self._started_at - began)
        return found[WARM_UP:]

    @contextmanager
    def _watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watcher.run, name="penstock-bench", daemon=True)
        thread.start()
        try:
            yield  # the first submission waits for the watcher to be there
        finally:
            self._watcher.stop()
            thread.join(60)


def spread_ms(seconds: list[float]) -> dict[str, float]:
    """Units: milliseconds."""
    at = quantiles(seconds, n=100, method="inclusive")
    return {"p50_ms": round(at[49] * 1000, 2), "p99_ms": round(at[98] * 1000, 2)}
