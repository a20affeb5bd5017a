"""Which of the edges behind a task are taken, now that it has ended: its choice, conditions, defaults, and failures."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from engine.errors import BadExpression
from engine.expression.evaluator import names_in, truth
from engine.expression.scope import Scopes
from engine.graph.edges import AFTER, ERROR, LOOP, NORMAL, TIMEOUT, Edge
from engine.graph.trigger_rules import LISTENING, EdgeOutcome
from engine.inputs import document
from engine.keys import KEY_COLUMNS, Key, among, chunks
from engine.states import Reason
from engine.tables import task_stat

Facts = dict[str, Any]
"""What a condition sees of the task that its edge leaves: `result`, `error`, `iteration`."""
_FAILED_AS = {Reason.HANDLED: Reason.FAILED, Reason.HANDLED_TIMEOUT: Reason.TIMED_OUT}


class Ended(enum.Enum):
    """How a task ended, as far as those behind it care."""

    FINISHED = "finished"
    IGNORED = "set aside by a person: as good as finished"
    SKIPPED = "skipped"
    HANDLED = "failed, and an edge leads on from there"
    FAILED = "failed, and waits for a person: only those are told who listen to failures"


@dataclass(frozen=True)
class Ending:
    """`chosen`: the tasks that the program chose to go on with; None leaves it to the edges. `planned`: what waits for
    it has been made to wait for tasks of its plan too."""

    how: Ended
    chosen: frozenset[Key] | None = None
    planned: bool = False


@dataclass
class Branches:
    """What became of edges. `broken`: tasks whose edge has a condition that cannot be worked out, with the words."""

    outcomes: dict[Edge, EdgeOutcome] = field(default_factory=dict)
    broken: dict[Key, str] = field(default_factory=dict)


def decide(
    conn: Connection, endings: Mapping[Key, Ending], out: Iterable[Edge], rules: Mapping[Key, str | None]
) -> Branches:
    """The outcome of every edge out of these tasks that has none yet. `rules`: trigger rules of the tasks behind."""
    branches = Branches()
    weigher = Weigher(conn, [edge for edge in out if endings[edge.parent].how is not Ended.SKIPPED])
    for parent, leaving in _by_parent(out).items():
        ending = endings[parent]
        still_open = [edge for edge in leaving if edge.outcome is None and edge.kind not in (LOOP, AFTER)]
        if ending.how is not Ended.FAILED:
            ordering = [edge for edge in leaving if edge.outcome is None and edge.kind == AFTER]
            branches.outcomes |= dict.fromkeys(ordering, EdgeOutcome.MOOT)
        match ending.how:
            case Ended.SKIPPED:
                branches.outcomes |= dict.fromkeys(still_open, EdgeOutcome.SKIPPED)
            case Ended.FAILED:
                told = [edge for edge in still_open if edge.kind == NORMAL and rules.get(edge.child) in LISTENING]
                branches.outcomes |= dict.fromkeys(told, EdgeOutcome.FAILED)
            case Ended.HANDLED:
                taken = weigher.handlers(still_open)
                for edge in still_open:
                    unhandled = EdgeOutcome.FAILED if edge.kind == NORMAL else EdgeOutcome.SKIPPED
                    branches.outcomes[edge] = EdgeOutcome.TAKEN if edge in taken else unhandled
            case Ended.FINISHED | Ended.IGNORED:
                _after_success(ending, leaving, still_open, weigher, branches)
    return branches


def handled(conn: Connection, out: Iterable[Edge], facts: Mapping[Key, Facts]) -> set[Key]:
    """Which of these tasks, that are about to fail, have an edge that takes care of it. `facts`: of each of them."""
    weigher = Weigher(conn, (), facts)
    return {parent for parent, leaving in _by_parent(out).items() if parent in facts and weigher.handlers(leaving)}


def facts_of(result: str | None, iteration: int, failure: str | None = None, message: str | None = None) -> Facts:
    """What a condition sees of one task. `result` is JSON text; `failure` the reason of a failure, None if there is
    none."""
    error = {"reason": failure, "message": message or ""} if failure else None
    return {"result": document(result), "error": error, "iteration": iteration}


def _after_success(
    ending: Ending, leaving: list[Edge], still_open: list[Edge], weigher: Weigher, branches: Branches
) -> None:
    normal = [edge for edge in still_open if edge.kind == NORMAL]
    branches.outcomes |= {edge: EdgeOutcome.SKIPPED for edge in still_open if edge.kind != NORMAL}
    if ending.chosen is not None:
        branches.outcomes |= {edge: _taken_if(edge.child in ending.chosen) for edge in normal}
        return
    earlier = any(edge.only_if is not None and edge.outcome == EdgeOutcome.TAKEN for edge in leaving)
    broken: list[str] = []
    for edge in normal:
        if edge.is_default:
            continue
        try:
            is_taken = edge.only_if is None or weigher.holds(edge)
        except BadExpression as error:
            branches.broken[edge.child] = words = f"the condition of {edge.words}, {edge.only_if!r}, {error.why}"
            broken.append(words)
            continue
        branches.outcomes[edge] = _taken_if(is_taken)
        earlier = earlier or (is_taken and edge.only_if is not None)
    for edge in normal:
        if not edge.is_default:
            continue
        if broken and not earlier:  # whether the default is wanted depends on what could not be worked out
            branches.broken[edge.child] = broken[0]
        else:
            branches.outcomes[edge] = _taken_if(not earlier)


def _taken_if(condition: bool) -> EdgeOutcome:
    return EdgeOutcome.TAKEN if condition else EdgeOutcome.SKIPPED


def _by_parent(out: Iterable[Edge]) -> dict[Key, list[Edge]]:
    grouped: dict[Key, list[Edge]] = {}
    for edge in out:
        grouped.setdefault(edge.parent, []).append(edge)
    return grouped


class Weigher:
    """Works out conditions. What the tasks returned, and how they failed, is read once for all that need it."""

    def __init__(self, conn: Connection, out: Iterable[Edge], known: Mapping[Key, Facts] | None = None) -> None:
        self._scopes = Scopes(conn)
        needed = {edge.parent for edge in out if edge.only_if is not None or edge.kind in (ERROR, TIMEOUT)}
        self._facts = {**_facts(conn, needed), **(known or {})}

    def holds(self, edge: Edge) -> bool:
        """Is the condition of the edge true? Errors: BadExpression."""
        text = edge.only_if or "true"
        return truth(text, self._scopes.of(edge.parent.flow_id, names_in(text), **self._facts[edge.parent]))

    def handlers(self, out: Iterable[Edge]) -> set[Edge]:
        """The edges that a failure takes: those for time-outs first, then those for errors. A condition that cannot be
        worked out handles nothing: the task is suspended, and a person sees both."""
        leaving = list(out)
        for kind in (TIMEOUT, ERROR):
            meant = [edge for edge in leaving if edge.kind == kind and self._fits(edge)]
            if meant:
                return set(meant)
        return set()

    def _fits(self, edge: Edge) -> bool:
        error = self._facts[edge.parent]["error"] or {}
        if edge.kind == TIMEOUT and error.get("reason") != Reason.TIMED_OUT:
            return False
        try:
            return edge.only_if is None or self.holds(edge)
        except BadExpression:
            return False


def _facts(conn: Connection, keys: Collection[Key]) -> dict[Key, Facts]:
    task = task_stat.c
    facts: dict[Key, Facts] = {}
    for part in chunks(sorted(keys)):
        query = select(*KEY_COLUMNS, task.result, task.reason, task.error, task.iteration).where(among(part))
        for flow_id, seq, result, reason, message, iteration in conn.execute(query):
            facts[Key(flow_id, seq)] = facts_of(result, iteration, _FAILED_AS.get(reason), message)
    return facts
