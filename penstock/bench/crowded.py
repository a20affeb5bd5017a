"""Workloads beside many other rows: finished ones, and ready ones."""

from __future__ import annotations

import time
from statistics import median

from engine import migrate
from engine.database import Database
from penstock.bench import filling, running, shapes
from penstock.bench.found import Found, Options
from penstock.bench.limit import Limit
from penstock.bench.shapes import Shape


def depth(db: Database, options: Options) -> Found:
    """Diamonds on an empty database, and again beside `size` tasks that have finished."""
    shape = shapes.DIAMOND10
    flows = min(1_000, max(1, options.size // shape.steps))
    shape.define(db)
    limit = Limit(db, shape.steps, shape.edges).measure(flows)
    before = [_one_run(db, shape, flows) for _ in range(options.runs)]
    there = filling.doubled(db, options.size)
    after = [_one_run(db, shape, flows) for _ in range(options.runs)]
    migrate.reset(db)  # a million rows are dropped with their tables sooner than deleted
    tasks, wall = flows * shape.steps, median(after)
    facts = {"finished_before": there, "ratio_to_empty": round(median(before) / wall, 2)}
    return Found("depth", db.flavour, tasks, wall, tasks / wall, limit, options.runs, 1, facts)


def _one_run(db: Database, shape: Shape, flows: int) -> float:
    """Seconds that so many flows take, beside whatever else is there."""
    with running.watchers(db, 1):
        began = running.time_of(db)
        shape.register(db, flows)
        running.finished(db)
    return running.took_s(db, since=began)


def backlog(db: Database, options: Options) -> Found:
    """A watcher before `size` tasks that are ready: how fast it goes, and how much memory it takes."""
    shape = shapes.QUEUE
    shape.define(db)
    limit = Limit(db, 1, ()).measure(min(options.size, 10_000))
    shape.register(db, min(options.size, 1_000))
    there = filling.doubled(db, options.size)
    most = min(there, 20_000)
    with running.watchers(db, 1) as (process,):
        began = time.perf_counter()
        done, rss = running.through(db, most, process.pid)
        wall = time.perf_counter() - began
    migrate.reset(db)
    facts = {"ready_before": there, "rss_mib": round(rss / 2**20)}
    return Found("backlog", db.flavour, done, wall, done / wall, limit, 1, 1, facts)
