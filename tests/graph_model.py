"""A flow as a pure function: given the graph and what each task answers, how every task ends.

Written without the engine's own rules, so that the two can disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FINISHED, SKIPPED, HANDLED, FAILED, WAITS = "finished", "skipped", "handled", "failed", "waits"


@dataclass(frozen=True)
class ModelEdge:
    """`equals`: taken if the earlier task's result is this number."""

    before: int
    after: int
    kind: str = "normal"
    equals: int | None = None
    is_default: bool = False


@dataclass(frozen=True)
class Answer:
    """What a task's program does: finish with a number, fail, or choose."""

    result: int = 0
    fails: str | None = None
    chooses: frozenset[int] | None = None


@dataclass(frozen=True)
class Graph:
    """Tasks 1..n; every edge leads from a smaller to a larger number."""

    tasks: int
    edges: tuple[ModelEdge, ...]
    rules: Mapping[int, str] = field(default_factory=dict)
    answers: Mapping[int, Answer] = field(default_factory=dict)

    def answer(self, task: int) -> Answer:
        return self.answers.get(task, Answer())

    def ends(self) -> dict[int, str]:
        """How each task ends when nothing is left to run."""
        ended: dict[int, str] = {}
        for task in range(1, self.tasks + 1):
            heard = [self._heard(edge, ended[edge.before]) for edge in self.edges if edge.after == task]
            fate = _fate(self.rules.get(task, "all"), heard)
            ended[task] = self._run(task) if fate == "runs" else fate
        return ended

    def _run(self, task: int) -> str:
        answer = self.answer(task)
        if answer.fails is None:
            return FINISHED
        return HANDLED if self._handlers(task) else FAILED

    def _handlers(self, task: int) -> list[ModelEdge]:
        """Edges for time-outs handle these before edges for errors do."""
        out = [edge for edge in self.edges if edge.before == task]
        if self.answer(task).fails == "timed out" and (late := [edge for edge in out if edge.kind == "timeout"]):
            return late
        return [edge for edge in out if edge.kind == "error"]

    def _heard(self, edge: ModelEdge, end: str) -> str | None:
        """yes, no, bad, or nothing yet."""
        if end == WAITS:
            return None
        if end == FAILED:
            listens = self.rules.get(edge.after) in ("all_done", "one_failed", "cleanup")
            return "bad" if listens and edge.kind == "normal" else None
        if end == SKIPPED:
            return "no"
        if end == HANDLED:
            if edge.kind == "normal":
                return "bad"
            return "yes" if edge in self._handlers(edge.before) else "no"
        return "yes" if self._is_taken(edge) else "no"

    def _is_taken(self, edge: ModelEdge) -> bool:
        answer = self.answer(edge.before)
        if edge.kind != "normal":
            return False
        if answer.chooses is not None:
            return edge.after in answer.chooses
        if edge.is_default:
            return not any(
                other.before == edge.before and other.kind == "normal" and other.equals == answer.result
                for other in self.edges
            )
        return edge.equals is None or edge.equals == answer.result


def _fate(rule: str, heard: list[str | None]) -> str:
    if not heard:
        return "runs"
    if rule == "any" and "yes" in heard:
        return "runs"
    if rule in ("one_failed", "cleanup") and "bad" in heard:
        return "runs"
    if None in heard:
        return WAITS
    runs = {
        "all": "yes" in heard,
        "cleanup": "yes" in heard,
        "all_taken": set(heard) == {"yes"},
        "any": False,
        "one_failed": False,
        "all_done": True,
        "none_failed": "bad" not in heard,
    }[rule]
    return "runs" if runs else SKIPPED
