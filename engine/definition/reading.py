"""Read the definition rows of workflows. What they must be like is checked in engine/definition/compile.py."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    null,
    select,
    type_coerce,
)

from engine import jsontext
from engine.definition.compile import compile_workflow
from engine.definition.step import Definition, Step
from engine.errors import BadDefinition, UnfitProgram
from engine.tables import task_definition, task_edge, task_option, workflow

__all__ = ["Check", "Definition", "Step", "as_json", "compile_rows", "misfits_of", "read_definitions", "read_rows"]

Check = Callable[[Step], list[str]]
"""What is wrong with the programs and parameters of a step, for those who know the programs."""
KEPT: Final = 500
"""Workflows whose compiled form is kept, by the content of their rows."""


DESCRIBED: Final = ("description", "owner", "tags", "source_format", "changed_ts", "changed_by")
"""Columns of ms_workflow for people; `source` is left out, as it is as long as all others together."""


class _Rows(NamedTuple):
    """The rows of one workflow as values: equal ones compile to the same definition."""

    task_id: str
    steps: tuple[tuple[Any, ...], ...]
    edges: tuple[tuple[Any, ...], ...]


def read_definitions(
    conn: Connection, task_ids: Collection[str], check: Check | None = None
) -> dict[str, Definition | BadDefinition]:
    """The workflows of these ids that have rows, each checked; one that cannot run is given as its error.

    Steps, extras and edges come from one statement: two could see two different commits, and tear a workflow. The rows
    are read each time, and compiled only when they are new.
    """
    steps: dict[str, list[tuple[Any, ...]]] = {}
    edges: dict[str, list[tuple[Any, ...]]] = {}
    for is_edge, task_id, *values in _rows_of(conn, task_ids):
        (edges if is_edge else steps).setdefault(task_id, []).append(tuple(values))
    found: dict[str, Definition | BadDefinition] = {}
    for task_id, rows in steps.items():
        into = sorted(edges.get(task_id, ()), key=str)
        compiled = _compiled(_Rows(task_id, tuple(sorted(rows, key=_order)), tuple(into)))
        if isinstance(compiled, str):  # an error that is raised more than once would gather tracebacks
            found[task_id] = BadDefinition(task_id, compiled)
        elif check is not None and (problems := misfits_of(compiled, check)):
            found[task_id] = UnfitProgram(task_id, problems)
        else:
            found[task_id] = compiled
    return found


def _rows_of(conn: Connection, task_ids: Collection[str]) -> Iterable[Any]:
    if len(task_ids) == 1:  # a list of any length is spelled out anew each time
        return conn.execute(_QUERY_OF_ONE, {"of_task": next(iter(task_ids))})
    return conn.execute(_QUERY, {"task_ids": sorted(task_ids)})


def _order(row: tuple[Any, ...]) -> tuple[bool, Any]:
    return isinstance(row[0], str), row[0]  # a text where a number belongs is refused later, with words


@lru_cache(KEPT)
def _compiled(rows: _Rows) -> Definition | str:
    """The definition, or why it is none."""
    steps = [dict(zip(_NAMES, row, strict=True)) for row in rows.steps]
    edges = [dict(zip(_NAMES, row, strict=True)) for row in rows.edges]
    try:
        return compile_workflow(rows.task_id, steps, edges)
    except BadDefinition as error:
        return error.why


@lru_cache(KEPT)
def misfits_of(definition: Definition, check: Check) -> str:
    """What is wrong with the programs of a definition, or nothing."""
    return "; ".join(f"{step.label}: {problem}" for step in definition.steps for problem in check(step))


def read_rows(conn: Connection, task_id: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All that the rows of a workflow say, also to people: its steps in order, and its edges, each with all columns;
    what is said to people stands in the first step, as `described_<column>`. Nothing if it has no steps."""
    steps: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    for is_edge, _, *values in conn.execute(_WHOLE_QUERY, {"of_task": task_id}):
        (edges if is_edge else steps).append(dict(zip(_WHOLE_NAMES, values, strict=True)))
    return sorted(steps, key=lambda row: _order((row["task_seq"],))), sorted(
        edges, key=lambda row: str([*row.values()])
    )


def compile_rows(task_id: str, steps: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]]) -> Definition:
    """The definition that rows would make, of which only some columns are given. Errors: BadDefinition."""
    nothing: dict[str, Any] = dict.fromkeys(_NAMES)
    ordered = sorted(steps, key=lambda row: _order((row["task_seq"],)))
    return compile_workflow(task_id, [{**nothing, **row} for row in ordered], [{**nothing, **row} for row in edges])


def _query(*, described: bool = False, of_one: bool = False) -> tuple[Any, list[str]]:
    """Steps with their extras and those of the workflow, and below them the edges. Built once: it names 50 columns.
    `described`: with what is said to people, beside the first step, as it may be long. `of_one`: of one workflow."""
    step, edge = task_definition.c, task_edge.c
    columns = {column.name: column for column in step if column.name != "task_id"}
    for prefix, table in (("option", task_option), ("workflow", workflow)):
        columns |= {f"{prefix}_{column.name}": column for column in table.c if _counts(column)}
    people = workflow.alias("people")
    if described:
        columns |= {f"described_{name}": people.c[name] for name in DESCRIBED}
    edge_columns = {column.name: column for column in edge if column.name not in ("task_id", "task_seq")}
    names = [*columns, *edge_columns]

    def wanted(task_id: Column[str]) -> ColumnElement[bool]:
        return task_id == bindparam("of_task") if of_one else task_id.in_(bindparam("task_ids", expanding=True))

    steps: Select[Any] = (
        select(
            literal_column("0").label("is_edge"),
            step.task_id,
            *(column.label(name) for name, column in columns.items()),
            *(_nothing(column).label(name) for name, column in edge_columns.items()),
        )
        .outerjoin_from(task_definition, task_option, _same_step(task_option))
        .outerjoin(workflow, workflow.c.task_id == step.task_id)
    )
    if described:
        every = task_definition.alias("every")
        first = select(func.min(every.c.task_seq)).where(every.c.task_id == step.task_id).scalar_subquery()
        steps = steps.outerjoin(people, and_(people.c.task_id == step.task_id, step.task_seq == first))
    steps = steps.where(wanted(step.task_id))
    edges: Select[Any] = select(
        literal_column("1"),
        edge.task_id,
        *(edge.task_seq if name == "task_seq" else _nothing(column) for name, column in columns.items()),
        *edge_columns.values(),
    ).where(wanted(edge.task_id))
    return steps.union_all(edges), names


def _counts(column: Any) -> bool:
    """Does it decide how flows are made?"""
    return not column.primary_key and not column.info.get("descriptive")


def _same_step(table: Any) -> Any:
    return and_(table.c.task_id == task_definition.c.task_id, table.c.task_seq == task_definition.c.task_seq)


def _nothing(column: Any) -> Any:
    return type_coerce(null(), column.type)


_QUERY, _NAMES = _query()
_QUERY_OF_ONE, _ = _query(of_one=True)
_WHOLE_QUERY, _WHOLE_NAMES = _query(described=True, of_one=True)


def as_json(parameters: Mapping[str, Any]) -> str:
    """Parameters as the run row carries them."""
    return jsontext.dumps(dict(parameters))
