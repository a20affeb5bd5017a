"""A document as the rows of the definition tables, and back. Pure functions over values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from engine import jsontext
from engine.definition.compile import PAIRS, parameters_of
from engine.definition.reading import compile_rows
from engine.definition.step import PHASES, Definition
from engine.documents.shape import After, Document, Phase, Reference, Step
from engine.documents.text import check
from engine.errors import BadDefinition, BadDocument, Problem
from engine.graph.edges import NORMAL
from engine.tables import task_option, workflow

_LONGEST: Final = 1024
"""Characters of a key or a value that one of Flower's pairs holds."""
_PLAIN: Final = ("name", "queue", "trigger_rule", "timeout_s", "limit_key", "executor", "is_exclusive")
_MAPPINGS: Final = ("input_mapping", "output_mapping")
RETRY: Final = {
    "max_attempts": "max_attempts",
    "delay_s": "retry_delay_s",
    "backoff": "retry_backoff",
    "max_delay_s": "retry_max_delay_s",
    "jitter": "retry_jitter",
}
"""Names of `retry` -> columns of ms_task_option."""
_OF_WORKFLOW: Final = (
    "flow_priority",
    "failure_policy",
    "timeout_s",
    "max_active_flows",
    "on_limit",
    "retention_s",
    "description",
    "owner",
)
_OBJECTS_OF_WORKFLOW: Final = ("parameters", "parameter_schema", "result_mapping")


class Rows(NamedTuple):
    """The rows of one workflow, with all columns of their tables but the key's first; `options` only of steps that
    have extras."""

    task_id: str
    steps: list[dict[str, Any]]
    options: list[dict[str, Any]]
    edges: list[dict[str, Any]]
    workflow: dict[str, Any]

    def compiled(self) -> Definition:
        """The definition that they make. Errors: BadDefinition."""
        of_workflow = {f"workflow_{name}": value for name, value in self.workflow.items()}
        options = {row["task_seq"]: row for row in self.options}
        steps = [
            {
                **of_workflow,
                **step,
                **{f"option_{name}": value for name, value in options.get(step["task_seq"], {}).items()},
            }
            for step in self.steps
        ]
        return compile_rows(self.task_id, steps, self.edges)


def rows_of(document: Document) -> Rows:
    """Errors: BadDocument for steps that share a number or a name, and for edges from steps that are not there."""
    steps = document.numbered()
    found = [*_repeated(steps), *_unknown(steps)]
    if found:
        raise BadDocument(document.task_id, found)
    names = _names(steps)
    options = [(seq, _option(step)) for seq, step in steps]
    return Rows(
        document.task_id,
        [{"task_seq": seq, **_step(step)} for seq, step in steps],
        [{"task_seq": seq, **row} for seq, row in options if any(value is not None for value in row.values())],
        [
            {"task_seq": seq, "depends_task_seq": names.get(edge.step, edge.step), **_edge(edge)}
            for seq, step in steps
            for edge in _edges(step)
        ],
        _workflow(document),
    )


def document_of(task_id: str, steps: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]]) -> Document:
    """The document of rows that can run, as engine/definition/reading.py reads them. Errors: BadDefinition."""
    compile_rows(task_id, steps, edges)
    names = {row["task_seq"]: row["option_name"] or row["task_seq"] for row in steps}
    behind: dict[int, list[Any]] = {}
    for row in sorted(edges, key=lambda row: row["depends_task_seq"]):
        behind.setdefault(row["task_seq"], []).append(_said_edge(row, names))
    said = {
        "task_id": task_id,
        **_said_workflow(task_id, steps[0]),
        "steps": [_said_step(row, behind.get(row["task_seq"])) for row in steps],
    }
    return check(said)


def is_pairs(parameters: Mapping[str, Any]) -> bool:
    """Do they fit into Flower's five pairs?"""
    return len(parameters) <= PAIRS and all(
        isinstance(text, str) and len(text) <= _LONGEST and "\x00" not in text
        for pair in parameters.items()
        for text in pair
    )


def _names(steps: Sequence[tuple[int, Step]]) -> dict[Any, int]:
    return {step.name: seq for seq, step in steps if step.name is not None}


def _repeated(steps: Sequence[tuple[int, Step]]) -> Iterator[Problem]:
    seqs: set[int] = set()
    names: set[str] = set()
    for place, (seq, step) in enumerate(steps):
        if not -(2**63) <= seq < 2**63:
            yield Problem(f"steps[{place}]", None, f"would be step {seq}, which no column holds")
        if seq in seqs:
            yield Problem(f"steps[{place}].seq", None, f"is {seq}, as that of another step")
        if step.name is not None and step.name in names:
            yield Problem(f"steps[{place}].name", None, f"is {step.name!r}, as that of another step")
        seqs.add(seq)
        names |= {step.name} if step.name is not None else set()


def _unknown(steps: Sequence[tuple[int, Step]]) -> Iterator[Problem]:
    known: set[Reference] = {seq for seq, _ in steps} | {step.name for _, step in steps if step.name is not None}
    names = _names(steps)
    for place, (_, step) in enumerate(steps):
        before: set[Any] = set()
        for number, edge in enumerate(_edges(step)):
            where = f"steps[{place}].after[{number}]"
            if edge.step not in known:
                yield Problem(where, None, f"there is no step {edge.step!r}")
            elif names.get(edge.step, edge.step) in before:
                yield Problem(where, None, f"step {edge.step!r} is named twice; there is one edge between two steps")
            before.add(names.get(edge.step, edge.step))


def _edges(step: Step) -> list[After]:
    return [item if isinstance(item, After) else After.model_validate({"step": item}) for item in step.after or ()]


def _edge(edge: After) -> dict[str, Any]:
    return {
        "kind": None if edge.kind == NORMAL else edge.kind,
        "only_if": edge.only_if,
        "is_default": edge.is_default or None,
        "max_iterations": edge.max_iterations,
    }


def _step(step: Step) -> dict[str, Any]:
    pairs = list((step.parameters or {}).items()) if is_pairs(step.parameters or {}) else []
    places = range(1, PAIRS + 1)
    keys = {f"param{place}_key": pairs[place - 1][0] if place <= len(pairs) else None for place in places}
    values = {f"param{place}_value": pairs[place - 1][1] if place <= len(pairs) else None for place in places}
    return {"program": step.program, "task_priority": step.priority or 0, **keys, **values}


def _option(step: Step) -> dict[str, Any]:
    given: dict[str, Any] = dict.fromkeys(column.name for column in task_option.c if not column.primary_key)
    if step.parameters and not is_pairs(step.parameters):
        given["parameters"] = jsontext.dumps(step.parameters)
    given |= {name: getattr(step, name) for name in _PLAIN}
    given |= {name: _as_text(getattr(step, name)) for name in _MAPPINGS}
    if step.retry is not None:
        given |= {column: getattr(step.retry, name) for name, column in RETRY.items()}
    for name in PHASES:
        phase: Phase | None = getattr(step, name)
        if phase is not None:
            given[f"{name}_program"] = phase.program
            given[f"{name}_parameters"] = jsontext.dumps(phase.parameters) if phase.parameters else None
    return given


def _workflow(document: Document) -> dict[str, Any]:
    given: dict[str, Any] = dict.fromkeys(column.name for column in workflow.c if not column.primary_key)
    given |= {name: getattr(document, name) for name in _OF_WORKFLOW}
    given |= {name: _as_text(getattr(document, name)) for name in _OBJECTS_OF_WORKFLOW}
    if not document.parameters:
        given["parameters"] = None
    if document.tags:
        given["tags"] = jsontext.dumps(document.tags)
    return given


def _as_text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else jsontext.dumps(dict(value))


def _said_step(row: Mapping[str, Any], after: list[Any] | None) -> dict[str, Any]:
    option = {name.removeprefix("option_"): value for name, value in row.items() if name.startswith("option_")}
    said: dict[str, Any] = {
        "seq": row["task_seq"],
        "name": option["name"],
        "program": row["program"],
        "priority": row["task_priority"] or None,
        "parameters": (parameters_of(row) | jsontext.loads_object(option["parameters"] or "{}")) or None,
        "after": after,
        **{name: option[name] for name in _PLAIN if name != "name"},
        **{name: _as_object(option[name]) for name in _MAPPINGS},
        "retry": {name: option[column] for name, column in RETRY.items() if option[column] is not None} or None,
    }
    for name in PHASES:
        if option[f"{name}_program"] is not None:
            parameters = _as_object(option[f"{name}_parameters"]) or None
            said[name] = {"program": option[f"{name}_program"], "parameters": parameters}
    return said


def _said_edge(row: Mapping[str, Any], names: Mapping[int, Any]) -> Any:
    before = names[row["depends_task_seq"]]
    kind = None if row["kind"] == NORMAL else row["kind"]
    said = {"kind": kind, "only_if": row["only_if"], "is_default": row["is_default"] or None}
    said |= {"max_iterations": row["max_iterations"]}
    given = {name: value for name, value in said.items() if value is not None}
    return {"step": before, **given} if given else before


def _said_workflow(task_id: str, first: Mapping[str, Any]) -> dict[str, Any]:
    of_people = ("description", "owner")
    said = {name: first[f"workflow_{name}"] for name in _OF_WORKFLOW if name not in of_people}
    said |= {name: first.get(f"described_{name}") or None for name in of_people}
    said |= {name: _as_object(first[f"workflow_{name}"]) for name in _OBJECTS_OF_WORKFLOW}
    said["parameters"] = said["parameters"] or None
    return {**said, "tags": _tags(task_id, first.get("described_tags"))}


def _tags(task_id: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    try:
        found = jsontext.loads(text)
    except jsontext.NotJSON as error:
        raise BadDefinition(task_id, f"ms_workflow: tags {error}") from error
    if not isinstance(found, list) or not all(isinstance(tag, str) for tag in found):
        raise BadDefinition(task_id, "ms_workflow: tags is no JSON list of texts")
    return found or None


def _as_object(text: str | None) -> dict[str, Any] | None:
    return None if text is None else jsontext.loads_object(text)
