"""A workflow as its definition rows say it, and the task instances that each of its flows gets. Plain data.

A `Step` is a row of ms_task_definition with its extras; a `Draft` is a task instance before any flow has it. A step
with phases has several drafts, so that run numbers and `task_seq` are two different numberings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from engine.graph.edges import ERROR, LOOP, NORMAL, TIMEOUT
from engine.graph.trigger_rules import DEFAULT
from engine.states import NO_PREDECESSOR

HANDLERS: Final = (ERROR, TIMEOUT)
PRE, POST, ROLLBACK = "pre", "post", "rollback"
PHASES: Final = (PRE, POST, ROLLBACK)


@dataclass(frozen=True)
class Edge:
    """An edge into a step or a task; `before` is the earlier one: a `task_seq` in a step, a run number in a draft."""

    before: int
    kind: str = NORMAL
    only_if: str | None = None
    is_default: bool = False
    max_iterations: int | None = None

    @property
    def is_plain(self) -> bool:
        return self == Edge(self.before)

    @property
    def extras(self) -> dict[str, Any]:
        """What it says beyond its two ends, as columns; NULL is the default."""
        found: dict[str, Any] = {} if self.kind == NORMAL else {"kind": self.kind}
        found |= {} if self.only_if is None else {"only_if": self.only_if}
        found |= {"is_default": True} if self.is_default else {}
        return found | ({} if self.max_iterations is None else {"max_iterations": self.max_iterations})


@dataclass(frozen=True)
class Phase:
    """What runs before or after a step, or undoes it."""

    program: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step as it is defined. `options`: columns of the run row that ms_task_option gives a value."""

    task_seq: int
    program: str
    priority: int
    parameters: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    phases: Mapping[str, Phase] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()

    @property
    def name(self) -> str | None:
        return self.options.get("name")

    @property
    def rule(self) -> str:
        return self.options.get("trigger_rule") or DEFAULT

    @property
    def mapped(self) -> list[str]:
        """Parameters that are worked out when the task begins (`input_mapping`)."""
        return list(json.loads(self.options.get("input_mapping") or "{}"))

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"step {self.task_seq}" + (f" ({self.name!r})" if self.name else "")

    @property
    def forward(self) -> tuple[Edge, ...]:
        """The edges that it waits for: all but loops."""
        return tuple(edge for edge in self.edges if edge.kind != LOOP)


@dataclass(frozen=True)
class Draft:
    """A task instance as every flow of the workflow begins with it. `columns`: what is the same in all of its rows."""

    exec_seq: int
    step: Step
    phase: str | None
    program: str
    parameters: Mapping[str, Any]
    edges: tuple[Edge, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    templates: tuple[str, ...] = ()
    """Names of the parameters that are templates."""

    @cached_property
    def first_parent(self) -> int:
        """What stands in the row itself, as in Flower: the first normal predecessor."""
        return min((edge.before for edge in self.edges if edge.kind == NORMAL), default=NO_PREDECESSOR)

    @cached_property
    def awaits(self) -> int:
        """How many edges it waits for."""
        return sum(edge.kind != LOOP for edge in self.edges)

    @cached_property
    def edge_rows(self) -> tuple[dict[str, Any], ...]:
        """Rows of kr_task_edge, without their flow: what does not follow from `depends_task_exec_seq` alone."""
        weighs = self.options.get("trigger_rule", DEFAULT) != DEFAULT
        return tuple(
            {"task_exec_seq": self.exec_seq, "depends_task_exec_seq": edge.before, **edge.extras}
            for edge in self.edges
            if weighs or not edge.is_plain or edge.before != self.first_parent
        )


@dataclass(frozen=True)
class Workflow:
    """The extras of a workflow (ms_workflow). Units: timeout_s in seconds."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    parameter_schema: Mapping[str, Any] | None = None
    flow_priority: int | None = None
    failure_policy: str | None = None
    timeout_s: float | None = None
    max_active_flows: int | None = None
    on_limit: str | None = None
    result_mapping: Mapping[str, Any] | None = None

    @property
    def closes(self) -> bool:
        """Is something left to do when a flow of it ends?"""
        return self.result_mapping is not None or self.failure_policy == "rollback"

    @property
    def content(self) -> dict[str, Any]:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return given if self.parameters else {name: value for name, value in given.items() if name != "parameters"}


@dataclass(frozen=True, eq=False)
class Definition:
    """A workflow, checked and numbered: `steps` by task_seq, `drafts` by run number."""

    task_id: str
    steps: tuple[Step, ...] = ()
    drafts: tuple[Draft, ...] = ()
    workflow: Workflow = field(default_factory=Workflow)

    @cached_property
    def content(self) -> str:
        """What it says, in the one way of writing it: numbers of the definition, not of a run; keys sorted."""
        whole: dict[str, Any] = {"task_id": self.task_id, "steps": [_content(step) for step in self.steps]}
        if extras := self.workflow.content:
            whole["workflow"] = extras
        return json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @cached_property
    def version_id(self) -> str:
        """64 hexadecimal digits that two definitions share if, and only if, they make the same flows."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def _content(step: Step) -> dict[str, Any]:
    found: dict[str, Any] = {
        "task_seq": step.task_seq,
        "program": step.program,
        "task_priority": step.priority,
        "parameters": step.parameters,
        "after": sorted(edge.before for edge in step.edges if edge.is_plain),
        **step.options,
    }
    if edges := [{"after": edge.before, **edge.extras} for edge in step.edges if not edge.is_plain]:
        found["edges"] = edges
    for name, phase in step.phases.items():
        found |= {f"{name}_program": phase.program, f"{name}_parameters": phase.parameters}
    return found
