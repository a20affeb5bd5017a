"""Read and check the definition rows of workflows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from engine import graph, jsontext, retry
from engine.errors import BadDefinition
from engine.states import NO_PREDECESSOR, PRIORITY_MAX, PRIORITY_MIN
from engine.tables import task_definition, task_edge, task_option

PAIRS = 5
_RUN_OPTIONS = ("queue", *retry.COLUMNS)
"""Columns of ms_task_option that a run row has under the same name."""
_OPTIONS = [task_option.c[name].label(f"option_{name}") for name in ("parameters", *_RUN_OPTIONS)]


@dataclass(frozen=True)
class Step:
    """One step of a workflow as a flow copies it; numbers are those of the run (1..n), `task_seq` the definition's."""

    exec_seq: int
    task_seq: int
    program: str
    priority: int
    parameters: Mapping[str, Any]
    depends: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Columns of the run row that ms_task_option gives a value."""

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

    @cached_property
    def content(self) -> str:
        """What it says, in the one way of writing it: numbers of the definition, not of a run; keys sorted."""
        seqs = {step.exec_seq: step.task_seq for step in self.steps}
        steps = [
            {
                "task_seq": step.task_seq,
                "program": step.program,
                "task_priority": step.priority,
                "parameters": step.parameters,
                "after": [seqs[earlier] for earlier in step.depends],
                **step.options,
            }
            for step in self.steps
        ]
        whole = {"task_id": self.task_id, "steps": steps}
        return json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @cached_property
    def version_id(self) -> str:
        """64 hexadecimal digits that two definitions share if, and only if, they make the same flows."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def read_definitions(conn: Connection, task_ids: Collection[str]) -> dict[str, Definition | BadDefinition]:
    """The workflows of these ids that have rows, each checked; one that cannot run is given as its error.

    Steps, extras and edges come from one statement: two could see two different commits, and tear a workflow.
    """
    step, edge, extra = task_definition.c, task_edge.c, task_option.c
    both = and_(edge.task_id == step.task_id, edge.task_seq == step.task_seq)
    all_edges = select(func.count()).where(edge.task_id == step.task_id).correlate(task_definition).scalar_subquery()
    query = (
        select(task_definition, edge.depends_task_seq, all_edges.label("edge_count"), *_OPTIONS)
        .outerjoin_from(task_definition, task_edge, both)
        .outerjoin(task_option, and_(extra.task_id == step.task_id, extra.task_seq == step.task_seq))
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
        _check_options(task_id, row)
    if sum(row.depends_task_seq is not None for row in rows) != rows[0].edge_count:
        raise BadDefinition(task_id, "ms_task_edge names a task_seq that is no step of this workflow")


def _check_options(task_id: str, row: Row[Any]) -> None:
    for column in retry.COLUMNS:
        if problem := retry.problem_with(column, row._mapping[f"option_{column}"]):
            raise BadDefinition(task_id, f"step {row.task_seq}: {problem}")
    if row.option_queue == "":
        raise BadDefinition(task_id, f"step {row.task_seq}: queue is empty")
    if row.option_parameters is not None:
        try:
            jsontext.loads_object(row.option_parameters)
        except jsontext.NotJSON as error:
            raise BadDefinition(task_id, f"step {row.task_seq}: parameters of ms_task_option {error}") from None


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
        parameters=parameters_of(row._mapping) | jsontext.loads_object(row.option_parameters or "{}"),
        depends=tuple(sorted(number[earlier] for earlier in parents)),
        options={name: row._mapping[f"option_{name}"] for name in _RUN_OPTIONS if _is_given(row, name)},
    )


def _is_given(row: Row[Any], name: str) -> bool:
    return row._mapping[f"option_{name}"] is not None


def parameters_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Flower's five pairs as one object: a pair without a key is skipped, a key without a value means "", and of two
    equal keys the later one counts."""
    pairs = ((row[f"param{place}_key"], row[f"param{place}_value"]) for place in range(1, PAIRS + 1))
    return {key: value if value is not None else "" for key, value in pairs if key is not None}


def as_json(parameters: Mapping[str, Any]) -> str:
    """Parameters as the run row carries them."""
    return jsontext.dumps(dict(parameters))
