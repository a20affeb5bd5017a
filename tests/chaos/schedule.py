"""The schedule of a run: which fault comes when. A pure function of the seed, so that a run can be run again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.options import Options

MOST_AT_ONCE = 2
SPARED_LEASES = 5
"""For how many leases the same watcher is spared, before it is another one's turn."""
INSTANT = {"kill-watcher": 50.0, "kill-register": 6.0, "kill-child": 12.0, "poison": 4.0}
LASTING = {
    "stop": 12.0,
    "drain": 4.0,
    "roll": 0.6,
    "lock": 2.5,
    "cut": 5.0,
    "freeze": 6.0,
    "one-way": 4.0,
    "delay": 3.0,
    "throttle": 2.0,
    "drop-commits": 7.0,
    "kill-database": 4.0,
    "disk-full": 2.5,
}
HOLDING = ("stop", "cut", "freeze", "one-way")
"""What keeps a process from its lease without ending it."""
OF_REGISTERS = 0.2
"""The share of the lasting faults of one process that hit a register."""
KINDS = (*INSTANT, *LASTING)
KILLING = ("kill-watcher", "kill-register", "kill-child", "kill-database")
SERVERS_ONLY = ("cut", "freeze", "one-way", "delay", "throttle", "drop-commits")
"""Faults of a wire; a file has none."""
GLOBAL = ("roll", "lock", "kill-database", "disk-full", "poison")


@dataclass(frozen=True)
class Step:
    """One fault: `at` seconds after the start, on a member, for `span_s`; `draw` 0 .. 1 is for whatever else has to be
    chosen. `watcher` and `register` count from 0."""

    number: int
    at: float
    kind: str
    watcher: int
    register: int
    span_s: float
    draw: float


def kinds_for(options: Options, of_store: tuple[str, ...]) -> tuple[str, ...]:
    """The faults that this run may have: those asked for, of those that its database and executor allow."""
    allowed = [kind for kind in KINDS if kind not in ("kill-database", "disk-full") or kind in of_store]
    if options.db == "sqlite":
        allowed = [kind for kind in allowed if kind not in SERVERS_ONLY]
    if options.executor not in ("process", "mixed"):
        allowed.remove("kill-child")
    return tuple(kind for kind in allowed if not options.faults or kind in options.faults)


def plan(options: Options, kinds: tuple[str, ...], share: float = 1.0) -> Iterator[Step]:
    """Steps without end, in order of time; at most two lasting faults overlap, by their planned spans. `share` of the
    kills are the schedule's own; failpoints do the others."""
    rng = random.Random(f"{options.seed}/nemesis")
    weights = {**INSTANT, **LASTING}
    killing = sum(weights[kind] for kind in kinds if kind in KILLING)
    pace = options.kills_per_s * share * sum(weights[kind] for kind in kinds) / (killing or 1.0)
    at, number = 1.0, 0
    until: list[float] = []
    held: dict[int, float] = {}
    """Until when a watcher is frozen or cut off: killed meanwhile, it could not come back too late."""
    while kinds:
        at += rng.expovariate(pace)
        until = [end for end in until if end > at]
        possible = [kind for kind in kinds if kind in INSTANT or len(until) < MOST_AT_ONCE]
        kind = rng.choices(possible, [weights[kind] for kind in possible])[0] if possible else None
        span_s, draw = _span(options, kind, rng), rng.random()
        left_alone = {spared(options, at), *(number for number, end in held.items() if end > at)}
        others = [number for number in range(options.watchers) if number not in left_alone]
        watcher, register = rng.choice(others or range(options.watchers)), rng.randrange(options.registers)
        if kind is None:
            continue
        if kind in LASTING:
            until.append(at + span_s)
        if kind in HOLDING and draw >= OF_REGISTERS:
            held[watcher] = at + span_s + options.lease_s
        yield Step(number, at, kind, watcher, register, span_s, draw)
        number += 1


def spared(options: Options, at: float) -> int:
    """The watcher that nothing happens to at this time of the schedule, except with all others: a watcher reaps only
    after a lease in contact, and if all were killed faster than that, no task would come back before the end."""
    return int(at / (SPARED_LEASES * options.lease_s)) % options.watchers


def _span(options: Options, kind: str | None, rng: random.Random) -> float:
    leases = rng.uniform(0.3, 1.0)
    if kind in HOLDING:
        leases = rng.uniform(0.3, 3.0)
    if kind == "kill-database":
        leases = rng.uniform(0.0, 1.6)
    return leases * options.lease_s
