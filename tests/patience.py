"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Words = Callable[[], object]


class TookTooLongError(AssertionError):
    """A wait ran out: something is broken, or the machine was busy. `make test` gives such a test a second try."""


def until(condition: Callable[[], Any], seconds: float = 30.0, words: Words | None = None) -> Any:
    """Wait for the condition and return what made it true. The `words` say what there is, should it not come true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() >= deadline:
            raise TookTooLongError(words() if words else f"it did not come to pass in {seconds:g} seconds")
        time.sleep(0.01)
    return found
