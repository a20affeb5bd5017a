"""What may be wrong with the edges of a workflow: ends, kinds, circles, loops, joins. Each check gives sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from engine.definition.step import POST, Edge, Step
from engine.definition.step_checks import expression_problem
from engine.graph import cycles as graph
from engine.graph.edges import ERROR, LOOP, NORMAL, TIMEOUT

Row = Mapping[str, Any]
Steps = Mapping[int, Step]
KINDS: Final = (NORMAL, ERROR, TIMEOUT, LOOP)
_NEEDS_ONE: Final = {
    "any": "runs as soon as one edge is taken",
    "one_failed": "runs as soon as one earlier step failed",
    "cleanup": "runs once an earlier step failed or finished",
}
"""Rules that an edge must satisfy: without any, the step would be skipped in every flow."""


def row_problems(rows: Iterable[Row], steps: Collection[int]) -> Iterator[str]:
    """Of each edge by itself, and of the choice that the edges behind one step are."""
    behind: dict[int, list[Row]] = {}
    for row in rows:
        label = f"edge {row['depends_task_seq']} -> {row['task_seq']}"
        for seq, words in ((row["depends_task_seq"], "starts at"), (row["task_seq"], "leads to")):
            if seq not in steps:
                yield f"{label} {words} step {seq}, which does not exist"
        yield from (f"{label}: {problem}" for problem in _edge_problems(row))
        behind.setdefault(row["depends_task_seq"], []).append(row)
    for seq, leaving in sorted(behind.items()):
        yield from _default_problems(seq, leaving)


def _edge_problems(row: Row) -> Iterator[str]:
    kind, most = row["kind"] or NORMAL, row["max_iterations"]
    if kind not in KINDS:
        yield f"kind {kind!r} is none of {', '.join(KINDS)}"
    if most is not None and kind != LOOP:
        yield "max_iterations is for loop edges only"
    elif most is not None and not (isinstance(most, int) and most >= 1):
        yield f"max_iterations {most!r} is no whole number from 1"
    if row["is_default"] and kind != NORMAL:
        yield f"an edge of kind {kind} cannot be the default"
    if row["is_default"] and row["only_if"] is not None:
        yield "the default edge is taken when no condition holds, so it can have none of its own"
    if row["only_if"] is not None and (problem := expression_problem(row["only_if"])):
        yield f"its condition {row['only_if']!r} {problem}"


def _default_problems(seq: int, leaving: Iterable[Row]) -> Iterator[str]:
    normal = [row for row in leaving if (row["kind"] or NORMAL) == NORMAL]
    defaults = [f"{seq} -> {row['task_seq']}" for row in normal if row["is_default"]]
    if len(defaults) > 1:
        yield f"step {seq} has {len(defaults)} default edges, {' and '.join(defaults)}: one is enough"
    if defaults and not any(row["only_if"] is not None for row in normal):
        yield f"edge {defaults[0]} is a default, and no other edge behind step {seq} has a condition"


def circle_problems(steps: Steps) -> Iterator[str]:
    if circle := graph.a_cycle({seq: [edge.before for edge in step.forward] for seq, step in steps.items()}):
        yield f"the edges go in a circle: {' -> '.join(map(str, circle))}; an edge that leads back has the kind loop"


def loop_problems(steps: Steps) -> Iterator[str]:
    """A loop repeats its body: the steps on the paths from where it leads to, to where it starts."""
    before = {seq: {edge.before for edge in step.forward} for seq, step in steps.items()}
    normal = {seq: {e.before for e in step.edges if e.kind == NORMAL} for seq, step in steps.items()}
    for target, step in steps.items():
        for edge in step.edges:
            if edge.kind != LOOP:
                continue
            label, source = f"loop edge {edge.before} -> {target}", edge.before
            if target not in _reached(normal, source):
                yield f"{label} leads to a step that does not come before step {source}"
                continue
            body = _body(before, target, source)
            yield from (f"{label}: {problem}" for problem in _crossings(steps, body, target, source))
            if POST in steps[source].phases:
                yield f"{label}: step {source} has a post_program, which a loop cannot repeat; make it a step"


def _body(before: Mapping[int, set[int]], target: int, source: int) -> set[int]:
    behind: dict[int, set[int]] = {seq: set() for seq in before}
    for seq, earlier in before.items():
        for one in earlier:
            behind[one].add(seq)
    return _reached(before, source) & _reached(behind, target)


def _crossings(steps: Steps, body: Collection[int], target: int, source: int) -> Iterator[str]:
    for seq, step in steps.items():
        for edge in step.edges:
            words = f"edge {edge.before} -> {seq}"
            if edge.before in body and seq not in body and edge.before != source:
                yield f"{words} leaves its body from the middle; only step {source} may be left"
            if edge.before not in body and seq in body and seq != target:
                yield f"{words} enters its body in the middle; only step {target} may be entered"


def _reached(neighbours: Mapping[int, set[int]], start: int) -> set[int]:
    """Everything that can be reached, the start included."""
    found, still = {start}, [start]
    while still:
        for one in neighbours[still.pop()] - found:
            found.add(one)
            still.append(one)
    return found


def join_problems(steps: Steps) -> Iterator[str]:
    """Joins of which it is known before any run that they never open."""
    for step in steps.values():
        why = _NEEDS_ONE.get(step.rule)
        if why and not step.forward:
            yield f"{step.label} has the rule {step.rule}, which {why}, and no edge leads to it: it would never run"
        elif step.rule == "one_failed" and not _normal(step.edges):
            words = "edges for errors and time-outs are taken or not, they do not fail: give it the rule all"
            yield f"{step.label} has the rule one_failed and no normal edge: {words}"


def _normal(edges: Iterable[Edge]) -> list[Edge]:
    return [edge for edge in edges if edge.kind == NORMAL]
