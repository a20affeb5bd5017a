"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Words = Callable[[], object]


class TookTooLongError(AssertionError):
    """A wait ran out: something is broken, or the machine was busy. `make test` gives such a test a second try."""


def line_with(words: str, said: Callable[[], str], lives: Callable[[], bool], seconds: float = 40.0) -> str:
    """Wait until a process says a line with these words in it. `said`: all that it has said by now."""

    def line() -> str | None:
        alive = lives()  # asked first: its last words count
        found = next((line for line in said().splitlines() if words in line), None)
        assert found or alive, said()
        return found

    return str(until(line, seconds, said))


def until(condition: Callable[[], Any], seconds: float = 30.0, words: Words | None = None) -> Any:
    """Wait for the condition and return what made it true. The `words` say what there is, should it not come true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() >= deadline:
            raise TookTooLongError(words() if words else f"it did not come to pass in {seconds:g} seconds")
        time.sleep(0.01)
    return found
