"""A plan that a program answered, checked before any transaction: pure, and linear in its tasks and edges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from engine import executors, jsontext, retry
from engine.graph import cycles as graph
from engine.graph.trigger_rules import RULES
from engine.states import PRIORITY_MAX, PRIORITY_MIN
from engine.wishes import PlannedTask, PlanWish

MAX_TASKS: Final = 100_000
MAX_EDGES: Final = 1_000_000
"""Predecessors named in one plan, and edges that its join makes."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Parameters of all tasks of one plan; those of one task may have as much as a result."""
_TEXTS: Final = {"queue": 64, "name": 128, "limit_key": 256}
_OPTIONS: Final = ("queue", *retry.COLUMNS, "name", "trigger_rule", "timeout_s", "limit_key", *executors.COLUMNS)
_MOST_ATTEMPTS: Final = 2**31 - 1
_MAX_PROGRAM: Final = 256
_SHOWN: Final = 80


class BadPlan(ValueError):
    """The plan cannot be carried out; the message names the task, by place and name, and what is wrong."""


class Wished(Protocol):
    """A task as a program wishes it: `programs.outcomes.Task` has this shape."""

    @property
    def program(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, Any]: ...
    @property
    def name(self) -> str | None: ...
    @property
    def after(self) -> Sequence[str | int]: ...
    @property
    def priority(self) -> int | None: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


def check(given: object, *, join: bool = True) -> PlanWish:
    """The plan of these tasks, a sequence of Wished, as a settlement carries it: predecessors as places, parameters as
    JSON text.

    Errors: BadPlan for the first thing that is wrong. Nothing here recurses, whatever the plan holds.
    """
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise BadPlan(f"the plan: its tasks are a {type(given).__name__}, not a list of Task")
    tasks: Sequence[Wished] = given
    if len(tasks) > MAX_TASKS:
        raise BadPlan(f"the plan has {len(tasks):,} tasks, more than the {MAX_TASKS:,} that one may have")
    names = _names(tasks)
    planned: list[PlannedTask] = []
    size = edges = 0
    for place, task in enumerate(tasks):
        ready = _task(task, place, names, len(tasks))
        size += len(ready.parameters.encode())
        edges += len(ready.after)
        if size > MAX_BYTES:
            raise _bad(place, task, f"with it the parameters of the plan are more than {MAX_BYTES:,} bytes of JSON")
        if edges > MAX_EDGES:
            raise _bad(place, task, f"with it the plan names more than {MAX_EDGES:,} predecessors")
        planned.append(ready)
    if circle := graph.a_cycle({place: task.after for place, task in enumerate(planned)}):
        raise BadPlan(f"the plan goes in a circle: {_path(circle, tasks)}")
    return PlanWish(tuple(planned), join=bool(join))


def leaves_of(wish: PlanWish) -> list[int]:
    """The places that no other task of the plan comes after: the last ones."""
    inner = {earlier for task in wish.tasks for earlier in task.after}
    return [place for place in range(len(wish.tasks)) if place not in inner]


def _names(tasks: Sequence[Wished]) -> dict[str, int]:
    names: dict[str, int] = {}
    for place, task in enumerate(tasks):
        if not all(hasattr(task, part) for part in ("program", "parameters", "name", "after", "priority", "options")):
            raise BadPlan(f"the plan: task {place} is a {type(task).__name__}, not a Task")
        if not isinstance(task.options, Mapping):
            raise _bad(place, task, f"its options are a {type(task.options).__name__}, not a mapping")
        own, other = task.name, task.options.get("name")
        if own is not None and other is not None and own != other:
            raise _bad(place, task, f"its options give it another name: {_shown(other)}")
        name = own if own is not None else other
        if name is None:
            continue
        if problem := _text_problem("name", name, _TEXTS["name"]):
            raise _bad(place, task, problem)
        if name in names:
            raise _bad(place, task, f"task {names[name]} of the plan has the same name")
        names[name] = place
    return names


def _task(task: Wished, place: int, names: Mapping[str, int], count: int) -> PlannedTask:
    if problem := _text_problem("program", task.program, _MAX_PROGRAM):
        raise _bad(place, task, problem)
    priority = task.priority
    if priority is not None and (
        isinstance(priority, bool) or not isinstance(priority, int) or not PRIORITY_MIN <= priority <= PRIORITY_MAX
    ):
        raise _bad(place, task, f"priority {_shown(priority)} is no whole number {PRIORITY_MIN} .. {PRIORITY_MAX}")
    after = _after(task, place, names, count)
    options = _options(task, place)
    if not after and options.get("trigger_rule", "all") != "all":
        raise _bad(place, task, f"trigger_rule {options['trigger_rule']!r} needs predecessors, and `after` is empty")
    name = options.pop("name", task.name)
    return PlannedTask(task.program, _parameters(task, place), name, after, priority, options)


def _parameters(task: Wished, place: int) -> str:
    parameters = task.parameters
    if not isinstance(parameters, Mapping):
        raise _bad(place, task, f"its parameters are a {type(parameters).__name__}, not a mapping")
    for key in parameters:
        if not isinstance(key, str):
            raise _bad(place, task, f"its parameters have the name {_shown(key)}, which is no text")
    try:
        return jsontext.dumps(dict(parameters), max_bytes=jsontext.MAX_RESULT_BYTES)
    except jsontext.NotJSON as error:
        raise _bad(place, task, f"what its parameters hold {error}") from None


def _after(task: Wished, place: int, names: Mapping[str, int], count: int) -> tuple[int, ...]:
    if not isinstance(task.after, Sequence) or isinstance(task.after, str | bytes):
        raise _bad(place, task, f"its `after` is {_shown(task.after)}, not a list of names and places")
    places: set[int] = set()
    for earlier in task.after:
        if isinstance(earlier, str):
            if earlier not in names:
                raise _bad(place, task, f"comes after {_shown(earlier)}, and no task of the plan has that name")
            places.add(names[earlier])
        elif isinstance(earlier, int) and not isinstance(earlier, bool):
            if not 0 <= earlier < count:
                raise _bad(place, task, f"comes after place {_shown(earlier)}, and the places are 0 .. {count - 1}")
            places.add(earlier)
        else:
            raise _bad(place, task, f"comes after {_shown(earlier)}, which is neither a name nor a place")
    return tuple(sorted(places))


def _options(task: Wished, place: int) -> dict[str, Any]:
    """The options that are given, in the types of their columns; None leaves one out."""
    options: dict[str, Any] = {}
    for column, value in task.options.items():
        if column not in _OPTIONS:
            raise _bad(place, task, f"has the option {_shown(column)}; there are {', '.join(_OPTIONS)}")
        if value is None:
            continue
        if problem := _option_problem(column, value):
            raise _bad(place, task, problem)
        options[column] = value
        if column == "max_attempts":
            options[column] = int(value)
        elif column in retry.COLUMNS or column == "timeout_s":
            options[column] = float(value)
    for problem in executors.problems(options.get("executor"), options.get("is_exclusive")):
        raise _bad(place, task, problem)
    return options


def _option_problem(column: str, value: Any) -> str | None:
    if column in _TEXTS:
        return _text_problem(column, value, _TEXTS[column])
    if column == "trigger_rule":
        known = isinstance(value, str) and value in RULES
        return None if known else f"trigger_rule {_shown(value)} is none of {', '.join(RULES)}"
    if column == "is_exclusive":
        return None if isinstance(value, bool) else f"is_exclusive {_shown(value)} is neither True nor False"
    if column == "executor":
        return None if isinstance(value, str) else f"executor is {_shown(value)}, not a text"
    try:
        if column == "timeout_s":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            legal = is_number and math.isfinite(value) and value > 0
            return None if legal else f"timeout_s {_shown(value)} is no number of seconds above 0"
        if column == "max_attempts" and isinstance(value, int) and value > _MOST_ATTEMPTS:
            return f"max_attempts is more than {_MOST_ATTEMPTS:,}"
        return retry.problem_with(column, value) or None
    except OverflowError:
        return f"{column} is beyond the range of a double"


def _text_problem(what: str, value: Any, longest: int) -> str | None:
    if not isinstance(value, str):
        return f"{what} is {_shown(value)}, not a text"
    if not 1 <= len(value) <= longest:
        return f"{what} must have 1 to {longest} characters, has {len(value):,}"
    if jsontext.clean_text(value, longest) != value:
        return f"{what} holds a character that no database can store"
    return None


def _bad(place: int, task: Wished, why: str) -> BadPlan:
    name = f" ({_shown(task.name)})" if isinstance(task.name, str) else ""
    return BadPlan(f"task {place}{name} of the plan: {why}")


def _path(circle: Sequence[int], tasks: Sequence[Wished]) -> str:
    shown = [_shown(tasks[place].name) if tasks[place].name is not None else str(place) for place in circle[:12]]
    return " -> ".join([*shown, "..."] if len(circle) > 12 else shown)


def _shown(value: object) -> str:
    try:
        words = repr(value)
    except Exception:  # a value of the program's own making may refuse to be shown; a huge number does
        words = f"<{type(value).__name__}>"
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."
