"""What takes long to make is made once for all processes of a test run: by whichever asks first."""

from __future__ import annotations

import fcntl
import os
import pickle  # noqa: TID251 - between processes of one run of tests
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")


def once(places: pytest.TempPathFactory, name: str, make: Callable[[], T]) -> T:
    """What `make` returned to the first that asked for `name`; the others wait for it. It must allow pickling."""
    mine = places.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    with (shared / name).open("a+b") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        kept.seek(0)
        if content := kept.read():
            return pickle.loads(content)  # type: ignore[no-any-return]  # noqa: S301 - our own
        made = make()
        pickle.dump(made, kept)
        return made
