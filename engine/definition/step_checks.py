"""What may be wrong with a step, or with the extras of its workflow, by itself. Each check gives sentences."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from engine import executors, jsontext, retry
from engine.definition import limit_keys, parameter_schema
from engine.definition.step import PHASES, Draft
from engine.errors import BadExpression
from engine.expression.evaluator import check as check_expression
from engine.expression.scope import NAMES
from engine.graph.trigger_rules import RULES
from engine.states import PRIORITY_MAX, PRIORITY_MIN

Row = Mapping[str, Any]
MAX_NAME: Final = 128
FAILURE_POLICIES: Final = ("continue", "stop", "rollback")
ON_LIMIT: Final = ("queue", "refuse", "cancel oldest")


def row_problems(rows: Sequence[Row]) -> Iterator[str]:
    """Of every step, and of the workflow; what the tables' own constraints refuse may have come in past them."""
    for row in rows:
        if not isinstance(row["task_seq"], int) or not row["program"]:
            yield f"step {row['task_seq']!r} has no whole number, or no program"
            continue
        label = f"step {row['task_seq']}" + (f" ({row['option_name']!r})" if row["option_name"] else "")
        yield from (f"{label}: {problem}" for problem in _step_problems(row))
    yield from (f"ms_workflow: {problem}" for problem in _workflow_problems(rows[0]))


def name_problems(drafts: Iterable[Draft]) -> Iterator[str]:
    """Names are what conditions, templates and people call steps by, so two of them would be one too many."""
    seen: dict[str, Draft] = {}
    for draft in drafts:
        name = draft.options.get("name")
        if name is None:
            continue
        if len(name) > MAX_NAME:
            yield f"step {draft.step.task_seq}: the name {name!r} has {len(name)} characters, more than {MAX_NAME}"
        if name in seen:
            yield f"step {seen[name].step.task_seq} and step {draft.step.task_seq} are both called {name!r}"
        seen[name] = draft


def _step_problems(row: Row) -> Iterator[str]:
    priority = row["task_priority"]
    if not isinstance(priority, int) or not PRIORITY_MIN <= priority <= PRIORITY_MAX:
        yield f"task_priority {priority!r} is outside {PRIORITY_MIN} .. {PRIORITY_MAX}"
    yield from (problem for column in retry.COLUMNS if (problem := retry.problem_with(column, row[f"option_{column}"])))
    for column in ("queue", "name", "limit_key", *(f"{phase}_program" for phase in PHASES)):
        if row[f"option_{column}"] == "":
            yield f"{column} is empty"
    yield from _object_problems(row, "option", "parameters", "parameters of ms_task_option")
    for phase in PHASES:
        yield from _object_problems(row, "option", f"{phase}_parameters")
        if row[f"option_{phase}_parameters"] is not None and row[f"option_{phase}_program"] is None:
            yield f"{phase}_parameters without a {phase}_program"
    rule = row["option_trigger_rule"]
    if rule is not None and rule not in RULES:
        yield f"trigger_rule {rule!r} is none of {', '.join(RULES)}"
    yield from seconds_problems("timeout_s", row["option_timeout_s"])
    yield from executors.problems(row["option_executor"], row["option_is_exclusive"])
    for column in ("input_mapping", "output_mapping"):
        yield from _mapping_problems(row, "option", column)
    if row["option_limit_key"]:
        yield from limit_keys.problems(row["option_limit_key"])


def _workflow_problems(row: Row) -> Iterator[str]:
    priority = row["workflow_flow_priority"]
    if priority is not None and not (isinstance(priority, int) and PRIORITY_MIN <= priority <= PRIORITY_MAX):
        yield f"flow_priority {priority!r} is outside {PRIORITY_MIN} .. {PRIORITY_MAX}"
    for column, known in (("failure_policy", FAILURE_POLICIES), ("on_limit", ON_LIMIT)):
        value = row[f"workflow_{column}"]
        if value is not None and value not in known:
            yield f"{column} {value!r} is none of {', '.join(known)}"
    yield from seconds_problems("timeout_s", row["workflow_timeout_s"])
    yield from seconds_problems("retention_s", row["workflow_retention_s"])
    most = row["workflow_max_active_flows"]
    if most is not None and not (isinstance(most, int) and most >= 1):
        yield f"max_active_flows {most!r} is no whole number from 1"
    yield from _object_problems(row, "workflow", "parameters")
    yield from _mapping_problems(row, "workflow", "result_mapping")
    wrong = list(_object_problems(row, "workflow", "parameter_schema"))
    yield from wrong
    if row["workflow_parameter_schema"] is not None and not wrong:
        yield from parameter_schema.problems(jsontext.loads_object(row["workflow_parameter_schema"]))


def seconds_problems(column: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value <= 0:
        yield f"{column} {value!r} is no number of seconds above 0"


def expression_problem(text: Any, known: Collection[str] = NAMES) -> str | None:
    """Why this is no expression that can be worked out, or None. `known`: the names that it may use."""
    if not isinstance(text, str):
        return "is no text: write the expression between quotation marks"
    try:
        check_expression(text, known)
    except BadExpression as error:
        return error.why
    return None


def _object_problems(row: Row, prefix: str, column: str, words: str | None = None) -> Iterator[str]:
    text = row[f"{prefix}_{column}"]
    if text is None:
        return
    try:
        jsontext.loads_object(text)
    except jsontext.NotJSON as error:
        yield f"{words or column} {error}"


def _mapping_problems(row: Row, prefix: str, column: str) -> Iterator[str]:
    wrong = list(_object_problems(row, prefix, column))
    yield from wrong
    text = row[f"{prefix}_{column}"]
    if text is None or wrong:
        return
    for name, expression in jsontext.loads_object(text).items():
        if problem := expression_problem(expression):
            yield f"{column}: the expression for {name!r} {problem}"
