"""What `penstock bench` can measure, by name. Each workload gets an empty database and says what it found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from engine import migrate
from engine.database import Database
from penstock.bench import filling, latency, registering, running, shapes
from penstock.bench.ground import emptied
from penstock.bench.latency import Latencies
from penstock.bench.limit import BATCH, Limit
from penstock.bench.shapes import Shape

WARM_UP: Final = 100
"""Registrations before the first that counts."""


@dataclass(frozen=True)
class Options:
    """How much to measure. `size` is in the workload's own measure: flows, tasks, branches or submissions. Of several
    `runs` the medians count."""

    size: int
    runs: int = 3
    watchers: int = 1


@dataclass(frozen=True)
class Found:
    """What one workload came to on one database. Units: tasks a second, seconds; `limit_tasks_per_s` is what the same
    database does bare, measured just before, where it is known; `facts` are further figures, each with its unit in its
    name."""

    workload: str
    db: str
    tasks: int
    wall_s: float
    tasks_per_s: float
    limit_tasks_per_s: float | None
    runs: int
    watchers: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio_to_limit(self) -> float | None:
        return None if self.limit_tasks_per_s is None else self.tasks_per_s / self.limit_tasks_per_s


@dataclass(frozen=True)
class Workload:
    """docs/performance.md says what each is. `size` is the default of --size, in the workload's own measure."""

    name: str
    size: int
    measure: Callable[[Database, Options], Found]


def _throughput(shape: Shape, flows: int, db: Database, options: Options, batch: int = BATCH) -> Found:
    """Register, run and settle `flows` flows of a shape, several times."""
    limit = median(Limit(db, shape.steps, shape.edges).measure(flows, batch) for _ in range(options.runs))
    walls: list[float] = []
    with running.watchers(db, options.watchers):
        for _ in range(options.runs):
            shape.define(db)
            shape.register(db, flows)
            running.finished(db)
            walls.append(running.took_s(db))
            _empty_runs(db)
    tasks, wall = flows * shape.steps, median(walls)
    kind = db.dialect.name
    return Found(shape.name, kind, tasks, wall, tasks / wall, limit, options.runs, options.watchers)


def _empty_runs(db: Database) -> None:
    """Between runs the watchers live on: their own rows must stay."""
    emptied(db, but=("kr_watcher",))


def _diamond10(db: Database, options: Options) -> Found:
    return _throughput(shapes.DIAMOND10, options.size, db, options)


def _chain(db: Database, options: Options) -> Found:
    return _throughput(shapes.CHAIN, options.size, db, options, batch=1)


def _fan_out(db: Database, options: Options) -> Found:
    return _throughput(shapes.fan_out(options.size), 1, db, options)


def _queue(db: Database, options: Options) -> Found:
    return _throughput(shapes.QUEUE, options.size, db, options)


def _latency(name: str, submit: Callable[[Latencies, int], list[float]]) -> Callable[[Database, Options], Found]:
    def measure(db: Database, options: Options) -> Found:
        samples = options.size
        limit = Limit(db, 1, ()).measure(samples, batch=1)
        latency.STEP.define(db)
        found = submit(Latencies(db), samples)
        emptied(db)
        wall = sum(found)
        facts = latency.spread_ms(found)
        return Found(name, db.dialect.name, samples, wall, samples / wall, limit, 1, 1, facts)

    return measure


def _depth(db: Database, options: Options) -> Found:
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
    return Found("depth", db.dialect.name, tasks, wall, tasks / wall, limit, options.runs, 1, facts)


def _one_run(db: Database, shape: Shape, flows: int) -> float:
    """Seconds that so many flows take, beside whatever else is there."""
    with running.watchers(db, 1):
        began = running.time_of(db)
        shape.register(db, flows)
        running.finished(db)
    return running.took_s(db, since=began)


def _backlog(db: Database, options: Options) -> Found:
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
    return Found("backlog", db.dialect.name, done, wall, done / wall, limit, 1, 1, facts)


def _registering(clients: int) -> Callable[[Database, Options], Found]:
    def measure(db: Database, options: Options) -> Found:
        shapes.QUEUE.define(db)
        walls: list[float] = []
        answers: list[float] = []
        with registering.register(db) as port:
            registering.one_by_one(port, shapes.QUEUE.name, WARM_UP, clients)
            for _ in range(options.runs):
                began = time.perf_counter()
                answers += registering.one_by_one(port, shapes.QUEUE.name, options.size, clients)
                walls.append(time.perf_counter() - began)
        emptied(db)
        wall, facts = median(walls), latency.spread_ms(answers)
        name = f"clients-{clients}"
        return Found(name, db.dialect.name, options.size, wall, options.size / wall, None, options.runs, 0, facts)

    return measure


def _bulk(db: Database, options: Options) -> Found:
    shape = shapes.DIAMOND10
    shape.define(db)
    walls: list[float] = []
    with registering.register(db) as port:
        for _ in range(options.runs):
            began = time.perf_counter()
            registering.at_once(port, shape.name, options.size)
            walls.append(time.perf_counter() - began)
    emptied(db)
    tasks, wall = options.size * shape.steps, median(walls)
    return Found("bulk", db.dialect.name, tasks, wall, tasks / wall, None, options.runs, 0)


WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload("diamond10", 1_000, _diamond10),
        Workload("chain", 1, _chain),
        Workload("fan-out", 1_000, _fan_out),
        Workload("queue", 10_000, _queue),
        Workload("latency", 200, _latency("latency", Latencies.direct)),
        Workload("post", 200, _latency("post", Latencies.posted)),
        Workload("clients-1", 1_000, _registering(1)),
        Workload("clients-50", 5_000, _registering(50)),
        Workload("bulk", 5_000, _bulk),
        Workload("depth", 1_000_000, _depth),
        Workload("backlog", 1_000_000, _backlog),
    )
}
