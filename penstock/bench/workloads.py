"""What `penstock bench` can measure, by name. Each workload gets an empty database and says what it found."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Final

from engine.database import Database
from penstock.bench import compared, crowded, latency, lists, registering, shapes
from penstock.bench.found import Found, Options, Workload
from penstock.bench.ground import emptied
from penstock.bench.latency import Latencies
from penstock.bench.limit import BATCH, Limit
from penstock.bench.rounds import rounds
from penstock.bench.shapes import Shape

WARM_UP: Final = 100
"""Registrations before the first that counts."""


def _throughput(shape: Shape, flows: int, db: Database, options: Options, batch: int = BATCH) -> Found:
    """Register, run and settle `flows` flows of a shape, several times."""
    limit = median(Limit(db, shape.steps, shape.edges).measure(flows, batch) for _ in range(options.runs))
    wall = median(rounds(db, shape, flows, options.runs, options.watchers))
    tasks, kind = flows * shape.steps, db.flavour
    return Found(shape.name, kind, tasks, wall, tasks / wall, limit, options.runs, options.watchers)


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
        return Found(name, db.flavour, samples, wall, samples / wall, limit, 1, 1, facts)

    return measure


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
        return Found(name, db.flavour, options.size, wall, options.size / wall, None, options.runs, 0, facts)

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
    return Found("bulk", db.flavour, tasks, wall, tasks / wall, None, options.runs, 0)


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
        Workload("depth", 1_000_000, crowded.depth),
        Workload("backlog", 1_000_000, crowded.backlog),
        Workload("lists", 1_000_000, lists.lists),
        Workload("limits", 2_000, compared.limits),
        Workload("watchers", 1_000, compared.watchers),
    )
}
