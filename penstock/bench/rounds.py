"""The same work several times over, by the same watchers."""

from __future__ import annotations

from collections.abc import Sequence

from engine.database import Database
from engine.tables import limit, watcher
from penstock.bench import running
from penstock.bench.ground import emptied
from penstock.bench.shapes import Shape


def rounds(db: Database, shape: Shape, flows: int, runs: int, watchers: int) -> Sequence[float]:
    """Seconds of each of `runs` rounds, from the first registration to the end of the last flow. Limits that there are
    stay as they are."""
    found = []
    with running.watchers(db, watchers):
        for _ in range(runs):
            shape.define(db)
            shape.register(db, flows)
            running.finished(db)
            found.append(running.took_s(db))
            emptied(db, but=(watcher.name, limit.name))  # the watchers live on
    return found
