"""A service over a socket, a watcher beside it, and clients of both kinds."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest_runs

from engine.database import Database
from penstock import AsyncClient, Client, services
from programs.catalogue import build_catalogue
from register.app import create_app
from register.server import Background
from register.settings import Settings
from watcher.loop import Watcher
from watcher.settings import Settings as WatcherSettings

QUICK: dict[str, Any] = {"interval_s": 0.05, "heartbeat_in": "thread", "workers": 4}


@pytest.fixture
def service(db: Database) -> Iterator[Background]:
    """The register over the test's database."""
    programs = build_catalogue(autoload=False)
    settings = Settings(port=0, request_timeout_s=5.0)
    app = create_app(db, settings, programs=partial(services.listed, programs))
    with Background(app, settings) as running:
        yield running


@contextmanager
def watching(db: Database, *programs: Any) -> Iterator[Watcher]:
    own = db.twin("watcher", 10)
    watcher = Watcher(own, build_catalogue(extra=programs, autoload=False), WatcherSettings(**QUICK))
    thread = threading.Thread(target=watcher.run, daemon=True)
    thread.start()
    try:
        yield watcher
    finally:
        watcher.stop()
        thread.join(30)
        own.close()
    assert not thread.is_alive()


@pytest.fixture
def watch(db: Database) -> Iterator[Callable[..., Watcher]]:
    """`watch(*programs)` starts a watcher that works to the end of the test."""
    with ExitStack() as stack:
        yield lambda *programs: stack.enter_context(watching(db, *programs))


class Awaited:
    """An `AsyncClient` behind the interface of a `Client`: what a test says of one, it says of both."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        try:
            self._client = self._runner.run(self._make(*args, **options))
        except BaseException:
            self._runner.close()
            raise

    @staticmethod
    async def _make(*args: Any, **options: Any) -> AsyncClient:
        return AsyncClient(*args, **options)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = found(*args, **kwargs)
            if hasattr(answer, "__aiter__"):
                return self._each(answer)
            return self._runner.run(self._awaited(answer))

        return call

    @staticmethod
    async def _awaited(answer: Any) -> Any:
        return await answer

    def _each(self, answer: Any) -> Iterator[Any]:
        while True:
            try:
                yield self._runner.run(self._awaited(anext(answer)))
            except StopAsyncIteration:
                return

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


CLIENTS: dict[str, Any] = {"sync": Client, "async": Awaited}


@pytest.fixture(params=sorted(CLIENTS))
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """`make(url, ...)`: a client of either kind, closed with the test."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(CLIENTS[request.param](*args, **options))


@pytest.fixture
def client(make: Callable[..., Any], service: Background) -> Any:
    return make(service.url)


@pytest.fixture(params=["sync", "async", "database"])
def any_client(request: pytest.FixtureRequest, service: Background, url: str) -> Iterator[Any]:
    """A client through each of the doors."""
    kind = str(request.param)
    with Client.of_database(url, actor="ann") if kind == "database" else CLIENTS[kind](service.url) as made:
        yield made
