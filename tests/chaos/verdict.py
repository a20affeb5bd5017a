"""What a run comes to: one line for people, one object for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.checks import executions
from tests.chaos.history import History, Violation

GROUPS = {
    "lost": ("I1", "I2", "I3", "I4"),
    "settled_twice": ("I5", "I6", "I7", "I8", "I16", "I19"),
    "order": ("I9", "J3", "data"),
    "drift": ("I10", "I11", "I11b", "J1", "J2", "I12", "I13", "I17"),
    "unexplained": ("I20", "I21"),
}
"""The numbers of the last line, by the invariants that they count; all else is `other`."""


@dataclass(frozen=True)
class Verdict:
    """`facts` go into the JSON file; `line` is the last line of the run."""

    facts: dict[str, Any]
    violations: tuple[Violation, ...]

    @property
    def clean(self) -> bool:
        return not self.violations

    @property
    def line(self) -> str:
        facts = self.facts
        counts = " ".join(f"{name}={facts[name]}" for name in (*GROUPS, "other"))
        head = "CLEAN" if self.clean else "VIOLATED"
        return (
            f"{head} {facts['db']} seed={facts['seed']} kills={facts['kills']} flows={facts['flows']}"
            f" tasks={facts['tasks']} {counts} duplicates={facts['duplicates']} in {facts['seconds']:.0f} s"
        )


def judge(history: History, violations: Sequence[Violation], kills: int, seconds: float) -> Verdict:
    """The verdict on a run that took so many seconds."""
    counted = Counter(violation.name for violation in violations)
    grouped = {group: sum(counted[name] for name in names) for group, names in GROUPS.items()}
    options = history.options
    facts = {
        "db": options.db,
        "seed": options.seed,
        "executor": options.executor,
        "shape": options.shape,
        "kills": kills,
        "flows": len(history.acknowledged),
        "tasks": len(history.witnessed),
        **grouped,
        "other": len(violations) - sum(grouped.values()),
        "duplicates": sum(1 for _ in executions.wasted(history)),
        "seconds": round(seconds, 1),
        "explanations": dict(_explanations(history)),
        "faults": dict(Counter(fault.kind for fault in history.faults)),
        "failpoints": dict(Counter(fault.target for fault in history.faults_of("failpoint"))),
        "recovery_s": percentiles(recoveries(history)),
        "answers": dict(Counter(str(request.status) for request in history.requests)),
        "answer_s": percentiles([request.answered - request.due for request in history.requests if request.status]),
        "quiet_after_s": history.quiet_after_s,
        "stalls": sum(1 for _ in history.faults_of("stall")),
        "log_lines": sum(map(len, history.logs.values())),
        "replay": options.replay,
        "violations": [vars(violation) for violation in violations],
    }
    return Verdict(facts, tuple(violations))


def _explanations(history: History) -> Counter[str]:
    return Counter(executions.explanation(history, run) or "none" for run in executions.wasted(history))


def recoveries(history: History) -> list[float]:
    """Seconds from the loss of a watcher's host until a task that ran there began elsewhere, one for each such task."""
    found = []
    for runs in history.executions.values():
        for index, run in enumerate(runs[:-1]):
            life = history.life_of(run)
            if run.end is None and life is not None and life.code == -9 and life.end is not None:
                found.append(max(0.0, runs[index + 1].begin.mono - life.end))
    return found


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Count, median, 99th percentile and the most; None without values."""
    if not values:
        return None
    ranked = sorted(values)
    at = {name: ranked[min(len(ranked) - 1, int(share * len(ranked)))] for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {"count": len(ranked), **{name: round(value, 3) for name, value in at.items()}, "max": round(ranked[-1], 3)}
