"""Steps -> the task instances of a flow: run numbers 1..n, and a task of its own for each phase around a step.

    before -> [name.pre] -> name -> [name.post] ..> behind

What leads to the step leads to its first task. The step's own task waits for `pre`, and `post` waits for both with the
rule `cleanup`, so that it runs whether they finished or failed. What follows the step has its edge, with all that the
edge says, from the step's own task, and beside it an `after` edge from `post`: that one is awaited, and neither taken
nor skipped, so that it decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine import retry
from engine.definition.step import HANDLERS, POST, PRE, Draft, Edge, Step
from engine.definition.template_marks import templates_in
from engine.graph.edges import AFTER, LOOP
from engine.graph.trigger_rules import LISTENING

CLEANUP: Final = "cleanup"
_OF_PHASES: Final = ("queue", *retry.COLUMNS, "timeout_s")
"""Options that the phases share with their step."""


@dataclass(frozen=True)
class _Numbers:
    """The run numbers of one step."""

    main: int
    pre: int | None
    post: int | None

    @property
    def first(self) -> int:
        return self.pre or self.main


def drafts(steps: Sequence[Step]) -> tuple[Draft, ...]:
    """The task instances of a flow of these steps, which are in the order of task_seq."""
    numbers: dict[int, _Numbers] = {}
    following = 1
    for step in steps:
        numbers[step.task_seq] = number = _numbered(step, following)
        following = (number.post or number.main) + 1
    return tuple(draft for step in steps for draft in _of_step(step, numbers))


def _numbered(step: Step, first: int) -> _Numbers:
    pre = first if PRE in step.phases else None
    main = first + 1 if pre else first
    return _Numbers(main, pre, main + 1 if POST in step.phases else None)


def _of_step(step: Step, numbers: Mapping[int, _Numbers]) -> Iterator[Draft]:
    mine = numbers[step.task_seq]
    into = tuple(sorted(_into(step, numbers), key=lambda edge: edge.before))
    if mine.pre:
        rule = {name: value for name, value in step.options.items() if name == "trigger_rule"}
        yield _phase(step, PRE, mine.pre, into, rule)
        options = {name: value for name, value in step.options.items() if name != "trigger_rule"}
        yield _draft(mine.main, step, None, step.program, step.parameters, (Edge(mine.pre),), options)
    else:
        yield _draft(mine.main, step, None, step.program, step.parameters, into, step.options)
    if mine.post:
        before = tuple(Edge(number) for number in (mine.pre, mine.main) if number)
        yield _phase(step, POST, mine.post, before, {"trigger_rule": CLEANUP})


def _into(step: Step, numbers: Mapping[int, _Numbers]) -> Iterator[Edge]:
    for edge in step.edges:
        earlier = numbers[edge.before]
        yield Edge(earlier.main, edge.kind, edge.only_if, edge.is_default, edge.max_iterations)
        if edge.kind == LOOP:
            continue
        if earlier.post:
            yield Edge(earlier.post, AFTER)
        if earlier.pre and edge.kind in HANDLERS:  # a failed `pre` is a failure of the step to what follows it
            yield Edge(earlier.pre, edge.kind, edge.only_if)
        elif earlier.pre and edge.is_plain and step.rule in LISTENING:
            yield Edge(earlier.pre)


def _phase(step: Step, phase: str, number: int, edges: tuple[Edge, ...], rule: Mapping[str, Any]) -> Draft:
    options = {name: value for name, value in step.options.items() if name in _OF_PHASES}
    if step.name:
        options["name"] = f"{step.name}.{phase}"
    what = step.phases[phase]
    return _draft(number, step, phase, what.program, what.parameters, edges, {**options, **rule})


def _draft(
    number: int,
    step: Step,
    phase: str | None,
    program: str,
    parameters: Mapping[str, Any],
    edges: tuple[Edge, ...],
    options: Mapping[str, Any],
) -> Draft:
    return Draft(number, step, phase, program, parameters, edges, options, tuple(templates_in(parameters)))
