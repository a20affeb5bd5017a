"""Definition rows -> a checked workflow with its task instances numbered. Pure functions over the values of the rows.

Everything that is wrong is gathered, stage by stage, so that a person mends it in one go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from engine import executors, jsontext, retry
from engine.definition import edge_checks, expand, step_checks
from engine.definition.step import HANDLERS, PHASES, Definition, Edge, Phase, Step, Workflow
from engine.errors import BadDefinition
from engine.graph.edges import LOOP, NORMAL

Row = Mapping[str, Any]
PAIRS: Final = 5
RUN_OPTIONS: Final = (
    "queue",
    *retry.COLUMNS,
    "name",
    "trigger_rule",
    "timeout_s",
    "limit_key",
    "input_mapping",
    "output_mapping",
    *executors.COLUMNS,
)
"""Columns of ms_task_option that a run row has under the same name."""
MOST_PROBLEMS: Final = 20


def compile_workflow(task_id: str, step_rows: Sequence[Row], edge_rows: Sequence[Row]) -> Definition:
    """The workflow of these rows: `step_rows` in the order of task_seq, columns of the extras with the prefixes
    `option_` and `workflow_`. Errors: BadDefinition, which names every step and edge that is wrong."""
    _refuse(task_id, step_checks.row_problems(step_rows))
    steps = {int(row["task_seq"]): _step(row) for row in step_rows}
    _refuse(task_id, edge_checks.row_problems(edge_rows, steps))
    steps = _joined(steps, edge_rows)
    _refuse(task_id, edge_checks.circle_problems(steps))
    _refuse(task_id, [*edge_checks.loop_problems(steps), *edge_checks.join_problems(steps)])
    drafts = expand.drafts(list(steps.values()))
    _refuse(task_id, step_checks.name_problems(drafts))
    return Definition(task_id, tuple(steps.values()), drafts, _workflow(step_rows[0]))


def _refuse(task_id: str, problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        more = len(found) - MOST_PROBLEMS
        said = found[:MOST_PROBLEMS] + ([f"and {more} problems more"] if more > 0 else [])
        raise BadDefinition(task_id, "; ".join(said), said)


def _step(row: Row) -> Step:
    return Step(
        task_seq=int(row["task_seq"]),
        program=row["program"],
        priority=int(row["task_priority"]),
        parameters=parameters_of(row) | jsontext.loads_object(row["option_parameters"] or "{}"),
        options={name: row[f"option_{name}"] for name in RUN_OPTIONS if row[f"option_{name}"] is not None},
        phases={
            phase: Phase(
                row[f"option_{phase}_program"], jsontext.loads_object(row[f"option_{phase}_parameters"] or "{}")
            )
            for phase in PHASES
            if row[f"option_{phase}_program"] is not None
        },
    )


def _joined(steps: Mapping[int, Step], rows: Iterable[Row]) -> dict[int, Step]:
    """The steps with their edges; Flower's chain where no normal edge says otherwise."""
    edges: dict[int, list[Edge]] = {seq: [] for seq in steps}
    for row in rows:
        edges[int(row["task_seq"])].append(_edge(row))
    if not any(edge.kind == NORMAL for into in edges.values() for edge in into):
        # a step that failures lead to is no link of the chain: it would run after every success, too
        links = [seq for seq, into in edges.items() if not any(edge.kind in HANDLERS for edge in into)]
        for earlier, later in pairwise(links):
            edges[later].append(Edge(earlier))
    return {
        seq: replace(step, edges=tuple(sorted(edges[seq], key=lambda edge: edge.before))) for seq, step in steps.items()
    }


def _edge(row: Row) -> Edge:
    kind = row["kind"] or NORMAL
    most = row["max_iterations"]
    return Edge(
        before=int(row["depends_task_seq"]),
        kind=kind,
        only_if=row["only_if"],
        is_default=bool(row["is_default"]),
        max_iterations=int(most) if kind == LOOP and most is not None else None,
    )


def _workflow(row: Row) -> Workflow:
    def read(name: str) -> dict[str, Any] | None:
        text = row[f"workflow_{name}"]
        return None if text is None else jsontext.loads_object(text)

    plain = ("flow_priority", "failure_policy", "timeout_s", "max_active_flows", "on_limit")
    return Workflow(
        parameters=read("parameters") or {},
        parameter_schema=read("parameter_schema"),
        result_mapping=read("result_mapping"),
        **{name: row[f"workflow_{name}"] for name in plain},
    )


def parameters_of(row: Row) -> dict[str, Any]:
    """Flower's five pairs as one object: a pair without a key is skipped, a key without a value means "", and of two
    equal keys the later one counts."""
    pairs = ((row[f"param{place}_key"], row[f"param{place}_value"]) for place in range(1, PAIRS + 1))
    return {key: value if value is not None else "" for key, value in pairs if key is not None}
