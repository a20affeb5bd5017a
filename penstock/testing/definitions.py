"""Workflows as a test writes them down: steps and edges, made rows of the definition tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, insert

from engine import jsontext
from engine.tables import task_definition, task_edge, task_option, workflow
from programs.contract import Program

Work = str | Program | Callable[..., Any]
"""A program: by its name, or itself, or a function that is to be one."""
_KEYS: Final = {"task_id", "task_seq", "depends_task_seq"}
_JSON: Final = {
    *("parameters", "parameter_schema", "result_mapping", "tags", "input_mapping", "output_mapping"),
    *("pre_parameters", "post_parameters", "rollback_parameters"),
}


@dataclass(frozen=True)
class Step:
    """One step. `options` are columns of `ms_task_option` (docs/tables.md): `max_attempts`, `queue` ..."""

    program: Work
    parameters: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """The step `after` runs after the step `before`, counted from 1. `options` are columns of `ms_task_edge`: `kind`,
    `only_if` ..."""

    before: int
    after: int
    options: Mapping[str, Any] = field(default_factory=dict)


def step(program: Work, parameters: Mapping[str, Any] | None = None, /, **options: Any) -> Step:
    """`step(load, {"DAY": "2026-11-22"}, max_attempts=3, retry_delay_s=60)`. Errors: TypeError: no such option."""
    _check(task_option, options, "step")
    return Step(program, dict(parameters or {}), options)


def edge(before: int, after: int, /, **options: Any) -> Edge:
    """`edge(1, 2, only_if="result.rows > 0")`. Errors: TypeError for an unknown option."""
    _check(task_edge, options, "edge")
    return Edge(before, after, options)


def write(
    conn: Connection,
    task_id: str,
    steps: Sequence[Step],
    names: Sequence[str],
    edges: Sequence[Edge] | None,
    options: Mapping[str, Any],
) -> None:
    """Write the definition in place of what there was; `names` are those of the steps' programs. Without `edges` the
    steps are a chain. Errors: TypeError for an unknown option of the workflow, ValueError for an edge of no step."""
    _check(workflow, options, "workflow")
    for one in edges or ():
        for end in (one.before, one.after):
            if not 1 <= end <= len(steps):
                raise ValueError(f"the edge {one.before} -> {one.after}: there is no step {end} among {len(steps)}")
    for table in (task_definition, task_edge, task_option, workflow):
        conn.execute(delete(table).where(table.c.task_id == task_id))
    for seq, (made, name) in enumerate(zip(steps, names, strict=True), start=1):
        own = {"task_id": task_id, "task_seq": seq}
        conn.execute(insert(task_definition).values(**own, program=name))
        extras = _written({**made.options, **({"parameters": made.parameters} if made.parameters else {})})
        if extras:
            conn.execute(insert(task_option).values(**own, **extras))
    for one in edges or ():
        ends = {"task_id": task_id, "task_seq": one.after, "depends_task_seq": one.before}
        conn.execute(insert(task_edge).values(**ends, **_written(one.options)))
    if options:
        conn.execute(insert(workflow).values(task_id=task_id, **_written(options)))


def _written(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: jsontext.dumps(value) if name in _JSON and not isinstance(value, str) else value
        for name, value in options.items()
    }


def _check(table: Table, options: Mapping[str, Any], what: str) -> None:
    known = set(table.c.keys()) - _KEYS
    if unknown := sorted(set(options) - known):
        raise TypeError(f"a {what} has no {', '.join(unknown)}; it may have {', '.join(sorted(known))}")
