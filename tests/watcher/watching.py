"""A watcher in a thread, with a connection pool of its own, as another process would have."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from engine.database import open_database
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

QUICK: dict[str, Any] = {"workers": 4, "interval_s": 0.2, "grace_s": 2.0, "db_wait_s": 10.0, "heartbeat_in": "thread"}
"""The heartbeat in a thread starts sooner; tests for which its place matters ask for the process."""


class Watching:
    """A watcher that runs in a thread until `stop`, or until the test ends."""

    def __init__(self, url: str, programs: tuple[object, ...], settings: dict[str, Any]) -> None:
        self.db = open_database(url, role="watcher")
        catalogue = build_catalogue(extra=programs, autoload=False)
        self.watcher = Watcher(self.db, catalogue, Settings(**{**QUICK, **settings}))
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def id(self) -> str:
        return self.watcher.id

    def _run(self) -> None:
        try:
            self.watcher.run()
        except BaseException as error:
            self.error = error

    @property
    def lives(self) -> bool:
        return self._thread.is_alive()

    def stop(self, seconds: float = 20.0) -> None:
        """Ask once, wait for the end."""
        self.watcher.stop()
        self.join(seconds)

    def join(self, seconds: float = 20.0) -> None:
        self._thread.join(seconds)
        assert not self.lives, "the watcher did not end"
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        if self.lives:
            self.watcher.stop()
            self.watcher.stop()
            self._thread.join(20)
        self.db.close()
        assert not self.lives
        assert self.error is None, self.error


Watch = Callable[..., Watching]
