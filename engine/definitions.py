"""Read and check the definition rows of workflows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from engine import graph, jsontext
from engine.errors import BadDefinition
from engine.states import NO_PREDECESSOR, PRIORITY_MAX, PRIORITY_MIN
from engine.tables import task_definition, task_edge

PAIRS = 5


@dataclass(frozen=True)
class Step:
    """One step of a workflow as a flow copies it; numbers are those of the run (1..n), `task_seq` the definition's."""

    exec_seq: int
    task_seq: int
    program: str
    priority: int
    parameters: Mapping[str, str]
    depends: tuple[int, ...] = ()

    @property
    def first_parent(self) -> int:
        return self.depends[0] if self.depends else NO_PREDECESSOR

    @property
    def further_parents(self) -> tuple[int, ...]:
        return self.depends[1:]


@dataclass(frozen=True)
class Definition:
    """A workflow, checked and numbered: `steps` are in the order of their run numbers."""

    task_id: str
    steps: tuple[Step, ...] = field(default=())


def read_definitions(conn: Connection, task_ids: Collection[str]) -> dict[str, Definition | BadDefinition]:
    """The workflows of these ids that have rows, each checked; one that cannot run is given as its error.

    Steps and edges come from one statement: two could see two different commits, and tear a workflow.
    """
    step, edge = task_definition.c, task_edge.c
    both = and_(edge.task_id == step.task_id, edge.task_seq == step.task_seq)
    all_edges = select(func.count()).where(edge.task_id == step.task_id).correlate(task_definition).scalar_subquery()
    query = (
        select(task_definition, edge.depends_task_seq, all_edges.label("edge_count"))
        .outerjoin_from(task_definition, task_edge, both)
        .where(step.task_id.in_(sorted(task_ids)))
        .order_by(step.task_id, step.task_seq, edge.depends_task_seq)
    )
    rows: dict[str, list[Row[Any]]] = {}
    for row in conn.execute(query):
        rows.setdefault(row.task_id, []).append(row)
    return {task_id: _checked(task_id, found) for task_id, found in rows.items()}


def _checked(task_id: str, rows: list[Row[Any]]) -> Definition | BadDefinition:
    try:
        return _definition(task_id, rows)
    except BadDefinition as error:
        return error


def _definition(task_id: str, rows: list[Row[Any]]) -> Definition:
    _check_rows(task_id, rows)
    by_seq = {int(row.task_seq): row for row in rows}
    parents: dict[int, list[int]] = {seq: [] for seq in by_seq}
    for row in rows:
        if row.depends_task_seq is not None:
            parents[int(row.task_seq)].append(int(row.depends_task_seq))
    if not any(parents.values()):  # Flower's chain
        order = sorted(by_seq)
        parents = {seq: order[place - 1 : place] if place else [] for place, seq in enumerate(order)}
    else:
        order = _graph_order(task_id, parents)
    number = {seq: place for place, seq in enumerate(order, start=1)}
    return Definition(task_id, tuple(_step(by_seq[seq], number, parents[seq]) for seq in order))


def _check_rows(task_id: str, rows: list[Row[Any]]) -> None:
    """What the tables' own constraints refuse may have come in past them."""
    for row in rows:
        if not isinstance(row.task_seq, int) or not row.program:
            raise BadDefinition(task_id, f"step {row.task_seq!r} has no whole number, or no program")
        if not isinstance(row.task_priority, int) or not PRIORITY_MIN <= row.task_priority <= PRIORITY_MAX:
            outside = f"task_priority {row.task_priority!r} is outside {PRIORITY_MIN} .. {PRIORITY_MAX}"
            raise BadDefinition(task_id, f"step {row.task_seq}: {outside}")
    if sum(row.depends_task_seq is not None for row in rows) != rows[0].edge_count:
        raise BadDefinition(task_id, "ms_task_edge names a task_seq that is no step of this workflow")


def _graph_order(task_id: str, parents: Mapping[int, list[int]]) -> list[int]:
    for seq, before in sorted(parents.items()):
        for earlier in before:
            if earlier not in parents:
                raise BadDefinition(task_id, f"edge {earlier} -> {seq} starts at a step that does not exist")
    if cycle := graph.a_cycle(parents):
        raise BadDefinition(task_id, f"the edges go in a circle: {' -> '.join(map(str, cycle))}")
    return sorted(parents)


def _step(row: Row[Any], number: Mapping[int, int], parents: list[int]) -> Step:
    return Step(
        exec_seq=number[int(row.task_seq)],
        task_seq=int(row.task_seq),
        program=row.program,
        priority=int(row.task_priority),
        parameters=parameters_of(row._mapping),
        depends=tuple(sorted(number[earlier] for earlier in parents)),
    )


def parameters_of(row: Mapping[Any, Any]) -> dict[str, str]:
    """Flower's five pairs as one object: a pair without a key is skipped, a key without a value means "", and of two
    equal keys the later one counts."""
    pairs = ((row[f"param{place}_key"], row[f"param{place}_value"]) for place in range(1, PAIRS + 1))
    return {key: value if value is not None else "" for key, value in pairs if key is not None}


def as_json(parameters: Mapping[str, Any]) -> str:
    """Parameters as the run row carries them."""
    return jsontext.dumps(dict(parameters))
