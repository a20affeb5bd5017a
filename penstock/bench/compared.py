"""Workloads that do the same under several conditions: with limits and without, by one watcher and by several."""

from __future__ import annotations

from statistics import median
from typing import Final

from sqlalchemy import insert

from engine.database import Database
from engine.tables import limit
from penstock.bench import shapes
from penstock.bench.found import Found, Options
from penstock.bench.ground import emptied
from penstock.bench.limit import Limit
from penstock.bench.rounds import rounds

WIDE: Final = 1_000_000
"""A limit that holds nothing back, and yet is counted against."""
TIGHT: Final = 8
"""A limit below the number of workers."""
WATCHERS: Final = (1, 2, 4)


def limits(db: Database, options: Options) -> Found:
    """Independent tasks without a limit, under one that is never reached, and under one that always is. The figures are
    those of the limit that is never reached; the ratios are to no limit at all."""
    shape = shapes.QUEUE
    bare = median(Limit(db, 1, ()).measure(options.size) for _ in range(options.runs))
    free = median(rounds(db, shape, options.size, options.runs, options.watchers))
    walls = {places: _limited(db, places, options) for places in (WIDE, TIGHT)}
    emptied(db)
    wall = walls[WIDE]
    facts = {"ratio_to_unlimited": round(free / wall, 2), f"ratio_with_{TIGHT}_places": round(free / walls[TIGHT], 2)}
    name = db.flavour
    return Found("limits", name, options.size, wall, options.size / wall, bare, options.runs, options.watchers, facts)


def _limited(db: Database, places: int, options: Options) -> float:
    emptied(db)
    with db.transaction() as conn:
        conn.execute(insert(limit).values(scope="queue", name="default", max_running=places))
    return median(rounds(db, shapes.QUEUE, options.size, options.runs, options.watchers))


def watchers(db: Database, options: Options) -> Found:
    """Diamonds by one watcher, by two and by four: the figures are those of the fastest."""
    shape = shapes.DIAMOND10
    bare = median(Limit(db, shape.steps, shape.edges).measure(options.size) for _ in range(options.runs))
    walls = {count: median(rounds(db, shape, options.size, options.runs, count)) for count in WATCHERS}
    emptied(db)
    tasks = options.size * shape.steps
    facts = {f"tasks_per_s_by_{count}": round(tasks / wall) for count, wall in walls.items()}
    best = min(walls, key=lambda count: walls[count])
    wall = walls[best]
    return Found("watchers", db.flavour, tasks, wall, tasks / wall, bare, options.runs, best, facts)
