"""Everything that is known of a run once it is over: the two witnesses, the faults, and the lives of the processes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import select

from engine.database import Database
from engine.tables import attempt, event, flow_stat, run_edge, task_stat, wait, watcher
from tests.chaos.options import Options
from tests.chaos.poison import PREFIX
from tests.chaos.records import Effect, Fault, Life, Request

Key = tuple[str, int]
Row = dict[str, Any]
TABLES = (flow_stat, task_stat, run_edge, attempt, event, wait, watcher)


@dataclass(frozen=True)
class Violation:
    """Something that must not be: the invariant's name (`I4`), a sentence, and the task or flow that it is about."""

    name: str
    words: str
    flow: str | None = None
    seq: int | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"


@dataclass
class Execution:
    """One run of a program, as the effect log has it; `end` None if it never came to its end."""

    begin: Effect
    end: Effect | None = None

    @property
    def key(self) -> Key:
        return self.begin.flow, self.begin.seq

    @property
    def claim(self) -> str:
        return self.begin.claim

    @property
    def how(self) -> str | None:
        return self.end.how if self.end is not None else None


@dataclass
class History:
    """Rows are dicts by column name. Times of rows are wall clock, aware, in UTC; all others are monotonic."""

    options: Options
    requests: list[Request] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    broken: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    """What the invariants in SQL found, by their names."""
    left_over: list[str] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)
    """The lines that each process wrote, by label."""
    wall_less_monotonic: float = field(default_factory=lambda: time.time() - time.monotonic())
    folder: Path = Path()
    """Where the run was; it is gone by now."""
    quiet_after_s: float | None = None
    """How long it took from the last fault mended until nothing was left to run; None: it never was."""

    def monotonic(self, stamp: datetime) -> float:
        """A time of the database on the monotonic clock: it is the clock of the same machine."""
        return stamp.timestamp() - self.wall_less_monotonic

    @cached_property
    def flows(self) -> dict[str, Row]:
        return {row["task_flow_id"]: row for row in self.rows[flow_stat.name]}

    @cached_property
    def tasks(self) -> dict[Key, Row]:
        return {(row["task_flow_id"], row["task_exec_seq"]): row for row in self.rows[task_stat.name]}

    @cached_property
    def witnessed(self) -> dict[Key, Row]:
        """The tasks that run witness programs: all but poison."""
        return {key: row for key, row in self.tasks.items() if not key[0].startswith(f"{PREFIX}-")}

    @cached_property
    def attempts(self) -> dict[Key, list[Row]]:
        """The kept tries of each task, in the order of their claims."""
        found: dict[Key, list[Row]] = defaultdict(list)
        for row in sorted(self.rows[attempt.name], key=lambda row: row["claim_no"]):
            found[row["task_flow_id"], row["task_exec_seq"]].append(row)
        return found

    @cached_property
    def executions(self) -> dict[Key, list[Execution]]:
        """The executions of each task, in the order in which they began."""
        found: dict[Key, list[Execution]] = defaultdict(list)
        open_ones: dict[tuple[Key, str, int], Execution] = {}
        for effect in self.effects:
            key = effect.flow, effect.seq
            if effect.what == "begin":
                execution = open_ones[key, effect.claim, effect.pid] = Execution(effect)
                found[key].append(execution)
            elif (known := open_ones.get((key, effect.claim, effect.pid))) is not None:
                known.end = effect
        return found

    @cached_property
    def acknowledged(self) -> dict[str, set[str]]:
        """key -> the flows that its answers named."""
        found: dict[str, set[str]] = defaultdict(set)
        for request in self.requests:
            if request.status == 200 and request.flow is not None:
                found[request.key].add(request.flow)
        return found

    @cached_property
    def _lives_by_pid(self) -> dict[int, list[Life]]:
        found: dict[int, list[Life]] = defaultdict(list)
        for life in self.lives:
            found[life.pid].append(life)
        return found

    @cached_property
    def _pid_of_watcher(self) -> dict[str, int]:
        return {row["watcher_id"]: row["pid"] for row in self.rows[watcher.name]}

    def attempt_of(self, execution: Execution) -> Row | None:
        """The row of the try that this execution was."""
        rows = self.attempts.get(execution.key, ())
        return next((row for row in rows if row["claim_id"] == execution.claim), None)

    def life_of(self, execution: Execution) -> Life | None:
        """The watcher process that this execution ran in or under."""
        row = self.attempt_of(execution)
        owner = self._pid_of_watcher.get(row["watcher_id"]) if row is not None and row["watcher_id"] else None
        for pid in (owner, execution.begin.pid, execution.begin.parent_pid):
            for life in self._lives_by_pid.get(pid or 0, ()):
                if life.begin <= execution.begin.mono and (life.end is None or life.end >= execution.begin.mono - 1):
                    return life
        return None

    def faults_of(self, *kinds: str, target: str | None = None) -> Iterable[Fault]:
        return (fault for fault in self.faults if fault.kind in kinds and target in (None, fault.target))


def rows_of(db: Database) -> dict[str, list[Row]]:
    """All rows of the tables of runs."""
    with db.read() as conn:
        return {
            table.name: [dict(row) for row in conn.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in TABLES
        }
