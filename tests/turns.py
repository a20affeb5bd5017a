"""Tests by turns: each on one of the databases, the same one each time, where what they test is not the database.

What the engine does on each database is tested on each of them, in tests/conformance above all.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence

import pytest


def not_their_turn(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Of the tests that are marked so: all but one for each of them."""
    alike: dict[str, list[tuple[str, pytest.Item]]] = defaultdict(list)
    for item in items:
        kind = getattr(item, "callspec", None) and item.callspec.params.get("kind")  # type: ignore[attr-defined]
        if kind is not None and item.get_closest_marker("by_turns") is not None:
            alike[item.nodeid.replace(kind, "*")].append((kind, item))
    left_out: list[pytest.Item] = []
    for name, found in alike.items():
        found.sort(key=lambda one: one[0])
        del found[zlib.crc32(name.encode()) % len(found)]
        left_out += [item for _, item in found]
    return left_out
