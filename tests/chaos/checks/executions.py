"""The effect log against the database: I19; every execution too many has a fault that explains it: I20, I21."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tests.chaos.history import Execution, History, Violation
from tests.chaos.records import Fault, Life

AS_ASKED = {"again": "again", "fail": "failed", "await": "awaiting"}
"""What a program answered in order to be run once more, and what the try is called then."""
SETTLED_WITHIN_S = 2.0
"""How long an outcome may be on its way to the database while nothing is wrong."""
LONGEST_PAUSE_S = 6.0
"""A watcher that was kept from the database asks again after a pause: as long as it was kept, and at most so long."""
CUTTING = ("cut", "freeze", "one-way")
HOLDING = ("stop", "freeze", "one-way")
"""A process that is stopped, or whose wire is silent, may hold locks that others wait for."""
HINDERING = ("kill-database", "lock", "disk-full", "delay", "throttle", "drop-commits", "stall", *HOLDING)
"""Faults of anybody that keep an outcome from being settled, or a result from being read, without costing its watcher
the lease."""


def effects_and_tries_agree(history: History) -> Iterator[Violation]:
    """I19: each accepted try began and ended in the effect log, with the same result; each begin belongs to a try."""
    for key, tries in history.attempts.items():
        if key not in history.witnessed:
            continue
        runs = {run.claim: run for run in history.executions.get(key, ())}
        for item in tries:
            run = runs.get(item["claim_id"])
            if item["accepted"] and (run is None or run.how != "finish"):
                words = (
                    f"claim {item['claim_id']} finished task {key[1]} of flow {key[0]}, the effect log does not say so"
                )
                yield Violation("I19", words, *key)
    for key, executions in history.executions.items():
        for run in executions:
            if history.attempt_of(run) is None:
                words = f"claim {run.claim} began task {key[1]} of flow {key[0]}, the database knows no such try"
                yield Violation("I19", words, *key)


def wasted(history: History) -> Iterator[Execution]:
    """The executions that neither settled their task nor were meant to be repeated by their program."""
    for executions in history.executions.values():
        for run in executions:
            row = history.attempt_of(run)
            outcome = row["outcome"] if row is not None else None
            if not (row is not None and row["accepted"]) and (run.how is None or AS_ASKED.get(run.how) != outcome):
                yield run


def duplicates_are_explained(history: History) -> Iterator[Violation]:
    """I20: no unexplained duplicate."""
    for run in wasted(history):
        if explanation(history, run) is None:
            flow, seq = run.key
            row = history.attempt_of(run)
            outcome = row["outcome"] if row is not None else "not in the database"
            words = f"claim {run.claim} ran task {seq} of flow {flow} in vain ({outcome}), and no fault explains it"
            yield Violation("I20", words, flow, seq)


def one_execution_per_claim(history: History) -> Iterator[Violation]:
    """A claim is begun once: whatever happened, nobody begins it again."""
    for (flow, seq), executions in history.executions.items():
        for claim, count in Counter(run.claim for run in executions).items():
            if count > 1:
                yield Violation("I20", f"claim {claim} of task {seq} of flow {flow} began {count} times", flow, seq)


def intervals_are_disjoint(history: History) -> Iterator[Violation]:
    """I21: executions of one task overlap only where the earlier owner was frozen or cut off."""
    for key, executions in history.executions.items():
        for index, earlier in enumerate(executions):
            end = _physical_end(history, earlier)
            for later in executions[index + 1 :]:
                if later.begin.mono < end and not any(_excused(history, run) for run in (earlier, later)):
                    words = f"task {key[1]} of flow {key[0]} ran twice at once, under {earlier.claim} and {later.claim}"
                    yield Violation("I21", words, *key)


def _excused(history: History, run: Execution) -> bool:
    life = history.life_of(run)
    return life is not None and _held_up(history, life, *_window(history, run, life)) is not None


def _physical_end(history: History, run: Execution) -> float:
    if run.end is not None:
        return run.end.mono
    killed = [fault.begin for fault in history.faults_of("kill-child") if fault.pid == run.begin.pid]
    life = history.life_of(run)
    ends = [at for at in killed if at >= run.begin.mono]
    return min([*ends, life.end if life is not None and life.end is not None else float("inf")])


def explanation(history: History, run: Execution) -> str | None:
    """Why this execution was in vain: the kind of fault that hit its process or its wire at the right time."""
    life = history.life_of(run)
    if life is None:
        return None
    begin, until = _window(history, run, life)
    if _killed(run, life, until):
        return "killed"
    child = history.faults_of("kill-child", target=life.label)
    if any(fault.pid == run.begin.pid and fault.overlaps(begin, until) for fault in child):
        return "child killed"
    if (held := _held_up(history, life, begin, until)) is not None:
        return held
    return "handed back" if _handed_back(history, run, life, begin, until) else None


def _held_up(history: History, life: Life, begin: float, until: float) -> str | None:
    """Was its process kept from beating for as long as a lease, and lived on?"""
    long = history.options.lease_s - 1.2 * history.options.heartbeat_s - 0.5
    for words, kinds in (("stopped", ("stop",)), ("cut off", CUTTING)):
        if any(fault.overlaps(begin, until) for fault in _long(history.faults_of(*kinds, target=life.label), long)):
            return words
    if any(fault.overlaps(begin, until) for fault in _long(history.faults_of("stall"), long)):
        return "stalled"
    return None


def _killed(run: Execution, life: Life, until: float) -> bool:
    return life.end is not None and life.code == -9 and (run.end is None or life.end <= until)


def _long(faults: Iterable[Fault], seconds: float) -> Iterator[Fault]:
    return (fault for fault in faults if fault.span >= seconds)


def _window(history: History, run: Execution, life: Life) -> tuple[float, float]:
    """From the claim to the moment by which its outcome must have been settled: faults on the way put that off."""
    row = history.attempt_of(run)
    claimed = row["claimed_ts"] if row is not None else None
    begin = min(run.begin.mono, history.monotonic(claimed)) - 0.5 if claimed is not None else run.begin.mono - 1.0
    until = (run.end.mono if run.end is not None else life.end or run.begin.mono) + SETTLED_WITHIN_S
    hindering = [*history.faults_of(*HINDERING), *history.faults_of("stop", *CUTTING, target=life.label)]
    for fault in sorted(hindering, key=lambda fault: fault.begin):
        if fault.begin <= until and fault.end is not None and _made_up(fault) > until >= begin:
            until = _made_up(fault)
    return begin, until


def _made_up(fault: Fault) -> float:
    """When what a fault had held up must have been settled."""
    return fault.end + SETTLED_WITHIN_S + min(fault.span, LONGEST_PAUSE_S) if fault.end is not None else fault.begin


def _handed_back(history: History, run: Execution, life: Life, begin: float, until: float) -> bool:
    """Released: by a watcher that was told to end, or because the results of earlier tasks could not be read."""
    row = history.attempt_of(run)
    if row is None or row["outcome"] != "released":
        return False
    if life.asked is not None and begin <= life.asked <= until:
        return True
    near = [*history.faults_of(*HINDERING), *history.faults_of(*CUTTING, "stop", target=life.label)]
    return run.how is not None and run.how.startswith("raised") and any(item.overlaps(begin, until) for item in near)
