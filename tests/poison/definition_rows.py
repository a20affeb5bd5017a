"""Poison in definitions: `ms_task_definition`, `ms_task_option`, `ms_task_edge`, `ms_workflow`, `ms_limit`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from poison import ALL, SERVERS, Poison, Row, short_id

STEP, OPTION, DEFINED_EDGE = "ms_task_definition", "ms_task_option", "ms_task_edge"
WORKFLOW, LIMIT = "ms_workflow", "ms_limit"
OK: Final = (200, None)
BAD: Final = (409, "urn:penstock:problem:bad-definition")
_ANSWERS: dict[str, tuple[int, str | None]] = {}


def expected_answer(poison: Poison) -> tuple[int, str | None]:
    """Code and type of what a registration of the workflow is answered with."""
    return _ANSWERS[poison.name]


def _defined(
    name: str,
    answer: tuple[int, str | None],
    *more: tuple[str, dict[str, Any]],
    steps: int = 2,
    refused_by: Iterable[str] = (),
    only_on: str | None = None,
    **columns: Any,
) -> Poison:
    """A workflow of a few steps, its own name for an id, with `columns` in the first step and more rows beside it."""
    _ANSWERS[name] = answer
    task_id = short_id(name)
    rows: list[Row] = [(STEP, {"task_id": task_id, "task_seq": 1, "program": "Noop", **columns})]
    rows += [(STEP, {"task_id": task_id, "task_seq": seq, "program": "Noop"}) for seq in range(2, steps + 1)]
    rows += [(table, {"task_id": task_id, **values}) for table, values in more]
    return Poison(name, tuple(rows), {}, frozenset(refused_by), only_on)


def _definitions() -> Iterator[Poison]:
    for what, program in {"unknown": "NoSuch", "import": "os.system"}.items():
        yield _defined(f"step with a program that is {what}", OK, program=program)
    yield _defined("step with a program that is empty", BAD, program="")
    for value in (-21, 20, 10**30, "high"):
        yield _defined(f"step of the priority {value}", OK, task_priority=value, refused_by=ALL)
    for value in (-1, 0, 2**62):
        yield _defined(f"step of the number {value}", OK, task_seq=value, steps=1)
    yield _defined("step whose number is a text", OK, task_seq="one", refused_by=ALL)
    for document in ("{n:3", "[1]", "3", "null", "", '{"a":1,"a":2}', '{"a":NaN}', "[" * 10_000, "\ufeff{}"):
        option = OPTION, {"task_seq": 1, "parameters": document}
        yield _defined(f"option with the parameters {document[:20]!r}", BAD, option)
    for column, values in {
        "trigger_rule": ("never", "ALL", ""),
        "name": ("",),
        "queue": ("",),
        "input_mapping": ("{n:1", "[]", '{"x": 1}', '{"x": "1 +"}', '{"x": "nobody"}'),
        "output_mapping": ("{n:1", "[]", '{"x": 1}', '{"x": "1 +"}'),
        "limit_key": ("{params.}", "{nobody}"),
        "pre_parameters": ("{}",),
        "timeout_s": (-1.0, 0.0),
    }.items():
        for value in values:
            yield _defined(f"option with {column} {value!r}", BAD, (OPTION, {"task_seq": 1, column: value}))
    for name in ("a b", "1x", "\u202e", "<script>"):
        yield _defined(f"option with the name {name!r}", OK, (OPTION, {"task_seq": 1, "name": name}))
    for column, values in {"max_attempts": (0, -1), "retry_jitter": (2.0,), "retry_backoff": (0.5,)}.items():
        for value in values:
            bad = OPTION, {"task_seq": 1, column: value}
            yield _defined(f"option with {column} {value!r}", BAD, bad, refused_by=ALL)
    yield _defined("option for a step that is not there", OK, (OPTION, {"task_seq": 99, "queue": "x"}))
    for name, edge in {
        "from nowhere": {"task_seq": 2, "depends_task_seq": 99},
        "to nowhere": {"task_seq": 99, "depends_task_seq": 1},
        "to itself": {"task_seq": 1, "depends_task_seq": 1},
        "of an unknown kind": {"task_seq": 2, "depends_task_seq": 1, "kind": "sideways"},
        "with a broken condition": {"task_seq": 2, "depends_task_seq": 1, "only_if": "1 +"},
        "with a condition on nothing": {"task_seq": 2, "depends_task_seq": 1, "only_if": "nobody"},
        "with a long condition": {"task_seq": 2, "depends_task_seq": 1, "only_if": "true && " * 50_000 + "true"},
        "with a deep condition": {"task_seq": 2, "depends_task_seq": 1, "only_if": "(" * 2000 + "true" + ")" * 2000},
        "that loops forward": {"task_seq": 2, "depends_task_seq": 1, "kind": "loop"},
        "that loops 0 times": {"task_seq": 1, "depends_task_seq": 2, "kind": "loop", "max_iterations": 0},
        "that loops -5 times": {"task_seq": 1, "depends_task_seq": 2, "kind": "loop", "max_iterations": -5},
    }.items():
        yield _defined(f"edge {name}", BAD, (DEFINED_EDGE, edge))
    circle = [
        (DEFINED_EDGE, {"task_seq": 1, "depends_task_seq": 2}),
        (DEFINED_EDGE, {"task_seq": 2, "depends_task_seq": 1}),
    ]
    yield _defined("edges in a circle", BAD, *circle)
    for column, values in {
        "parameters": ("{n:3", "[1]", "[" * 10_000),
        "parameter_schema": ("{n:3", "[]", '{"type": 7}', '{"$ref": "http://127.0.0.1:1/x"}'),
        "result_mapping": ("{n:1", "[]", '{"x": "1 +"}'),
    }.items():
        for value in values:
            yield _defined(f"workflow with {column} {value[:30]!r}", BAD, (WORKFLOW, {column: value}))
    for column, values in {
        "failure_policy": ("explode", ""),
        "flow_priority": (-21, 20),
        "timeout_s": (-1.0, 0.0),
        "max_active_flows": (0, -1),
        "on_limit": ("explode",),
    }.items():
        for value in values:
            yield _defined(f"workflow with {column} {value!r}", OK, (WORKFLOW, {column: value}), refused_by=ALL)
    yield _defined("workflow that times out at 1e308", OK, (WORKFLOW, {"timeout_s": 1e308}))
    yield _defined("workflow with a number that is a text", BAD, (WORKFLOW, {"timeout_s": "abc"}), refused_by=SERVERS)


DEFINITIONS: Final = tuple(_definitions())
