"""The next iteration of a loop, as rows to be made. Pure functions over the rows of the present iteration.

A loop edge leads from the last step of a body (its source) back to the first (its target). Taking it makes new
instances of every step of the body. Bodies nest, so the present iteration may hold several instances of a step that
loops by itself; the latest is what is copied, once, and its own loop begins to count anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from engine.graph.edges import LOOP

DEFAULT_ITERATIONS: Final = 1_000


class Step(NamedTuple):
    """What instances of one step of a definition have in common, whatever iteration they are of."""

    task_seq: int
    phase: str | None = None


@dataclass(frozen=True)
class Instance:
    """A task of the present iteration; `columns` are those that a copy of it takes over."""

    seq: int
    step: Step
    iteration: int = 0
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """An edge within the body, between run numbers; `extras` are the columns beyond its two ends. `beside`: it has a
    row in kr_task_edge, whether or not the later task's own row names it too."""

    seq: int
    before: int
    kind: str | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    beside: bool = False
    max_iterations: int | None = None


@dataclass(frozen=True)
class Copy:
    """A task to be made: `of` is the instance that it repeats, `parents` are run numbers, the first one for its row."""

    seq: int
    of: Instance
    iteration: int
    parents: tuple[int, ...]


@dataclass(frozen=True)
class Turn:
    """What taking a loop edge makes: tasks, edges between them, and the instance that the loop now ends with."""

    copies: tuple[Copy, ...]
    edges: tuple[Edge, ...]
    source: int


def left(max_iterations: int | None) -> int:
    """How often an edge that carries this may still be taken; a text, which SQLite lets in, is no leave at all."""
    found: object = max_iterations
    if found is None:
        return DEFAULT_ITERATIONS
    return found if isinstance(found, int) else 0


def next_iteration(
    target: int, source: int, body: Iterable[Instance], edges: Sequence[Edge], first_number: int
) -> Turn:
    """The tasks and edges of one more iteration of the loop from `source` back to `target`, numbered from
    `first_number` on. `edges` are those with both ends in `body`, the loop's own among them."""
    instances = {instance.seq: instance for instance in body}
    latest = {instances[seq].step: instances[seq] for seq in sorted(instances)}
    number = {step: first_number + place for place, step in enumerate(latest)}  # in the order of first instances
    between = _between_steps(instances, edges)
    taken = instances[target].step, instances[source].step
    nested = _nested(between, taken)
    first = number[taken[0]]
    made: dict[int, list[int]] = {seq: [] for seq in number.values()}
    copied: list[Edge] = []
    for (step, before), edge in sorted(between.items(), key=lambda item: (number[item[0][0]], number[item[0][1]])):
        seq, earlier = number[step], number[before]
        if edge.kind != LOOP:
            made[seq].append(earlier)
        is_taken = edge.kind == LOOP and (step, before) == taken
        most = left(edge.max_iterations) - 1 if is_taken else edge.max_iterations
        copied.append(Edge(seq, earlier, edge.kind, edge.extras, edge.beside, most))
    copies = [
        # the first task of an iteration comes after the last one of the iteration before
        Copy(seq, one, 0 if step in nested else one.iteration + 1, (source,) if seq == first else tuple(made[seq]))
        for (step, one), seq in zip(latest.items(), number.values(), strict=True)
    ]
    return Turn(tuple(copies), tuple(edge for edge in copied if _has_row(edge, made)), number[taken[1]])


def _has_row(edge: Edge, made: Mapping[int, Sequence[int]]) -> bool:
    """A plain first predecessor stands in the task's own row alone."""
    return edge.beside or edge.kind == LOOP or edge.before != made[edge.seq][0]


def _between_steps(instances: Mapping[int, Instance], edges: Sequence[Edge]) -> dict[tuple[Step, Step], Edge]:
    """One edge for each pair (later step, earlier step). Of a nested loop the row that has counted least stands for
    all; what links one of its iterations to the next is no edge of the definition and is left out."""
    found: dict[tuple[Step, Step], Edge] = {}
    for edge in edges:
        if edge.kind != LOOP:
            continue
        pair = instances[edge.seq].step, instances[edge.before].step
        if pair not in found or left(edge.max_iterations) > left(found[pair].max_iterations):
            found[pair] = edge
    loops = set(found)
    for edge in sorted((edge for edge in edges if edge.kind != LOOP), key=lambda edge: edge.beside):
        pair = instances[edge.seq].step, instances[edge.before].step
        if pair not in loops:
            found[pair] = edge
    return found


def _nested(between: Mapping[tuple[Step, Step], Edge], taken: tuple[Step, Step]) -> set[Step]:
    """The steps that a loop within this one goes round."""
    forward: dict[Step, set[Step]] = {}
    back: dict[Step, set[Step]] = {}
    for (step, before), edge in between.items():
        if edge.kind != LOOP:
            forward.setdefault(before, set()).add(step)
            back.setdefault(step, set()).add(before)
    inner: set[Step] = set()
    for pair, edge in between.items():
        if edge.kind == LOOP and pair != taken:
            target, source = pair
            inner |= _reach(forward, target) & _reach(back, source)
    return inner


def _reach(neighbours: Mapping[Step, set[Step]], start: Step) -> set[Step]:
    found, open_ones = {start}, [start]
    while open_ones:
        new = neighbours.get(open_ones.pop(), set()) - found
        found |= new
        open_ones += new
    return found
