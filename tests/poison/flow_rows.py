"""Poison in several rows of one flow: dependencies, edges, conditions, loops, flow rows, waits and messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from poison import (
    ALL,
    FLOW,
    MARIADB,
    MESSAGE,
    POSTGRESQL,
    RUNS,
    SERVERS,
    SQLITE,
    WAITS,
    End,
    Poison,
    Raw,
    Row,
    edge_row,
    flow,
    short_id,
    suspended,
    task_row,
    wait_row,
)

from engine.states import Reason

CYCLE = suspended(Reason.CYCLE)
DANGLING = suspended(Reason.DANGLING)
BAD_CONDITION = suspended(Reason.BAD_CONDITION)
SKIPPED = End(9, Reason.SKIPPED)


def flow_rows() -> Iterator[Poison]:
    yield from dependencies()
    yield from edges()
    yield from conditions()
    yield from loops()
    yield from flows()
    yield from waits()
    yield from messages()


def chain(flow_id: str, before: dict[int, int], **columns: Any) -> list[Row]:
    return [task_row(flow_id, seq, depends_task_exec_seq=parent, **columns) for seq, parent in before.items()]


def dependencies() -> Iterator[Poison]:
    for number in (99, 2**62, 2):
        name = f"depends on {number}, which is missing"
        yield flow(name, chain(name, {1: number}), {1: DANGLING})
    for number in (0, -1, -2, -(2**62)):
        name = f"depends on {number}, which is nothing"
        yield flow(name, chain(name, {1: number}), {1: RUNS})
    circles = {
        "on itself": {1: 1},
        "two": {1: 2, 2: 1},
        "three": {1: 3, 2: 1, 3: 2},
        "nine": {seq: seq % 9 + 1 for seq in range(1, 10)},
    }
    for name, before in circles.items():
        name = f"circle, {name}"
        yield flow(name, chain(name, before), dict.fromkeys(before, CYCLE))
    name = "circle with a tail, and a task beside it"
    ends = {1: CYCLE, 2: CYCLE, 3: CYCLE, 4: RUNS}
    yield flow(name, chain(name, {1: 2, 2: 1, 3: 2, 4: -1}), ends)
    name = "circle through a second predecessor"
    yield flow(name, [*chain(name, {1: -1, 2: 1}), edge_row(name, 1, 2)], {1: CYCLE, 2: CYCLE})
    name = "chain of 2,000"
    rows = chain(name, {seq: seq - 1 or -1 for seq in range(1, 2_001)}, program="NoSuchProgram")
    yield flow(name, rows, {1: suspended(Reason.UNKNOWN_PROGRAM), 2: WAITS, 2_000: WAITS})
    name = "numbers with gaps"
    rows = [task_row(name, 5), task_row(name, 2**62, depends_task_exec_seq=5)]
    yield flow(name, rows, {5: RUNS, 2**62: RUNS}, outside=["I3"])
    name = "numbers below one"
    yield flow(name, [task_row(name, 0), task_row(name, -7)], {0: RUNS, -7: RUNS}, outside=["I3"])
    name = "the same number twice"
    yield flow(name, [task_row(name, 1), task_row(name, 1)], {}, refused_by=ALL)


def edges() -> Iterator[Poison]:
    def two(name: str, *more: Row) -> list[Row]:
        return [*chain(name, {1: -1, 2: 1}), *more]

    name = "edge from nowhere"
    yield flow(name, two(name, edge_row(name, 2, 99)), {1: RUNS, 2: DANGLING})
    name = "edge to nowhere"
    yield flow(name, two(name, edge_row(name, 99, 1)), {1: RUNS, 2: RUNS})
    name = "edge of a flow that is not there"
    yield flow(name, [edge_row(name, 2, 1)], {})
    name = "edge to itself"
    yield flow(name, two(name, edge_row(name, 2, 2)), {1: RUNS, 2: CYCLE})
    name = "edge twice"
    yield flow(name, two(name, edge_row(name, 2, 1), edge_row(name, 2, 1)), {}, refused_by=ALL)
    name = "edge that the row has too"
    yield flow(name, two(name, edge_row(name, 2, 1)), {1: RUNS, 2: RUNS})
    for kind in ("sideways", "", "NORMAL", "normal ", "'; --"):
        name = f"edge of the kind {kind!r}"
        yield flow(name, two(name, edge_row(name, 2, 1, kind=kind)), {1: RUNS, 2: RUNS})
    for outcome in ("perhaps", "", "TAKEN"):
        name = f"edge with the outcome {outcome!r}"
        yield flow(name, two(name, edge_row(name, 2, 1, outcome=outcome)), {1: RUNS}, outside=("I9", "I10", "J3"))
    name = "edge to a negative number"
    yield flow(name, two(name, edge_row(name, 2, -5)), {1: RUNS, 2: DANGLING})
    name = "edges for a failure that does not come"
    yield flow(name, two(name, edge_row(name, 2, 1, kind="error")), {1: RUNS, 2: SKIPPED})
    for column in ("kind", "only_if", "outcome"):
        name = f"edge whose {column} is no UTF-8"
        bad = {column: Raw("CAST(x'FF41FE' AS TEXT)")}
        ends = {1: RUNS} | ({2: BAD_CONDITION} if column == "only_if" else {})
        yield flow(name, two(name, edge_row(name, 2, 1, **bad)), ends, only_on=SQLITE, outside=("I9", "I10", "J3"))
        name = f"edge whose {column} is a blob"
        bad = {column: Raw("x'FF41FE'")}
        ends = {1: RUNS} | ({2: BAD_CONDITION} if column == "only_if" else {})
        yield flow(name, two(name, edge_row(name, 2, 1, **bad)), ends, only_on=SQLITE, outside=("I9", "I10", "J3"))
    for value in ("perhaps", 7, -1):
        name = f"edge that is the default: {value}"
        refused = ALL[1:] if isinstance(value, str) else (POSTGRESQL,)
        yield flow(name, two(name, edge_row(name, 2, 1, is_default=value)), {1: RUNS, 2: RUNS}, refused_by=refused)


CONDITIONS = {
    "empty": "",
    "syntax": "1 +",
    "unknown name": "nobody > 1",
    "no truth": "1 + 1",
    "a text": "'true'",
    "division": "1 / 0 == 0",
    "missing": "result.nobody == 1",
    "long": "true && " * 50_000 + "true",
    "deep": "(" * 2_000 + "true" + ")" * 2_000,
    "import": "__import__('os').system('id') == 0",
    "pattern": "'" + "a" * 40 + "b'.matches('(a+)+$')",
    "large number": "9" * 5_000 + " > 1",
    "costly": "[1,2,3,4,5,6,7,8,9]" + ".map(a, [1,2,3,4,5,6,7,8,9]" * 40 + ")" * 40 + " == []",
    "NUL escape": "'\\x00' == 1 + 'a'",
    "newlines": "\n\n\ntrue\n&&\n",
}


def conditions() -> Iterator[Poison]:
    for what, condition in CONDITIONS.items():
        name = f"condition, {what}"
        rows = [*chain(name, {1: -1, 2: 1, 3: -1}), edge_row(name, 2, 1, only_if=condition)]
        end = {"pattern": SKIPPED, "empty": RUNS}.get(what, BAD_CONDITION)
        yield flow(name, rows, {1: RUNS, 2: end, 3: RUNS})
    name = "condition, two defaults"
    rows = [
        *chain(name, {1: -1, 2: 1, 3: 1}),
        edge_row(name, 2, 1, is_default=True),
        edge_row(name, 3, 1, is_default=True),
    ]
    yield flow(name, rows, {1: RUNS, 2: RUNS, 3: RUNS})


def loops() -> Iterator[Poison]:
    def looping(name: str, /, **columns: Any) -> list[Row]:
        return [*chain(name, {1: -1, 2: 1}), edge_row(name, 1, 2, kind="loop", **columns)]

    for most in (0, -1, -(2**31)):
        name = f"loop without end that may go round {most} times"
        yield flow(name, looping(name, max_iterations=most), {1: RUNS, 2: suspended(Reason.LOOP_LIMIT)})
    name = "loop whose condition is broken"
    yield flow(name, looping(name, only_if="1 +"), {1: RUNS, 2: BAD_CONDITION})
    name = "loop with a number that is a text"
    yield flow(name, looping(name, max_iterations="often", only_if="false"), {1: RUNS, 2: RUNS}, refused_by=SERVERS)
    name = "loop with a number that is a text, taken"
    yield flow(
        name, looping(name, max_iterations="often"), {1: RUNS, 2: suspended(Reason.LOOP_LIMIT)}, refused_by=SERVERS
    )
    name = "loop to a task that is not there"
    rows = [*chain(name, {1: -1, 2: 1}), edge_row(name, 99, 2, kind="loop")]
    yield flow(name, rows, {1: RUNS, 2: suspended(Reason.BAD_RESULT)})
    name = "loop to a task beside it"
    rows = [*chain(name, {1: -1, 2: -1, 3: 2}), edge_row(name, 1, 3, kind="loop")]
    yield flow(name, rows, {1: RUNS, 2: RUNS, 3: suspended(Reason.BAD_RESULT)})
    name = "loop forward"
    rows = [*chain(name, {1: -1, 2: 1}), edge_row(name, 2, 1, kind="loop")]
    yield flow(name, rows, {1: suspended(Reason.BAD_RESULT)})
    name = "loop on itself, 3 times"
    rows = [*chain(name, {1: -1}), edge_row(name, 1, 1, kind="loop", max_iterations=3)]
    yield flow(name, rows, {1: RUNS, 4: suspended(Reason.LOOP_LIMIT)})


def flows() -> Iterator[Poison]:
    def with_flow(
        name: str, end: End = RUNS, /, *, refused_by: Any = (), only_on: str | None = None, **columns: Any
    ) -> Poison:
        own = {"task_flow_id": name, "task_id": "by hand", **columns}
        return flow(
            name,
            [(FLOW, own), *chain(name, {1: -1, 2: 1})],
            {1: end},
            refused_by=refused_by,
            only_on=only_on,
            outside=["I3", "I11"],
        )

    for column in ("task_count", "finish_count", "ignore_count", "suspend_count"):
        for value in (-5, 99, 2**31 - 1, -(2**31)):
            yield with_flow(f"flow with {column} {value}", **{column: value})
        yield with_flow(f"flow with {column} a text", refused_by=SERVERS, **{column: "abc"})
    for status in (1, 2, 3, 4, 9, -1, 32_767):
        yield with_flow(f"flow with the status {status}", flow_status=status)
    yield with_flow("flow with a status that is a text", refused_by=SERVERS, flow_status="wait")
    for instant in ("9999-12-31 00:00:00", "2500-01-01 00:00:00"):
        yield with_flow(f"flow with the deadline {instant}", deadline_ts=instant)
    for instant in ("0001-01-01 00:00:00", "2020-01-01 00:00:00"):
        yield with_flow(f"flow with the deadline {instant}", End(9, Reason.CANCELLED), deadline_ts=instant)
    yield with_flow("flow with the deadline infinity", refused_by=[MARIADB], deadline_ts="infinity")
    yield with_flow("flow with a deadline that is none", refused_by=SERVERS, deadline_ts="soon")
    for policy in ("explode", "", "STOP"):
        yield with_flow(f"flow with the failure policy {policy!r}", failure_policy=policy)
    for closing in (1, 2, -1, 99):
        yield with_flow(f"flow with closing {closing}", closing=closing)
    yield with_flow("flow that has ended and is to be closed", flow_status=3, closing=1)
    yield with_flow("flow of a version that is not there", version_id="no such version")
    yield with_flow("flow of a version that is not there, to be closed", version_id="none", flow_status=3, closing=1)
    yield with_flow("flow with a parent that is not there", parent_flow_id="nobody", parent_exec_seq=1)
    yield with_flow("flow that is its own parent", parent_flow_id="flow that is its own parent", parent_exec_seq=1)
    for what, document in {"broken": "{n:3", "array": "[1]", "deep": "[" * 10_000, "empty": ""}.items():
        bad = RUNS if document == "" else suspended(Reason.BAD_PARAMETERS)
        yield with_flow(f"flow with parameters that are {what}", bad, parameters=document)
    yield with_flow(
        "flow with 5 MB of parameters", suspended(Reason.BAD_PARAMETERS), parameters='{"a": "' + "x" * 5_000_000 + '"}'
    )
    for column in ("parameters", "run_key", "reason", "failure_policy", "version_id", "result"):
        bad = Raw("CAST(x'FF41FE' AS TEXT)")
        end = suspended(Reason.BAD_PARAMETERS) if column == "parameters" else RUNS
        yield with_flow(f"flow whose {column} is no UTF-8", end, only_on=SQLITE, **{column: bad})
    for column in ("failure_policy", "flow_status", "closing", "flow_priority", "version_id", "parent_exec_seq"):
        yield with_flow(f"flow whose {column} is a blob", only_on=SQLITE, **{column: Raw("x'FF41FE'")})
    name = "flow without a task"
    yield flow(name, [(FLOW, {"task_flow_id": name, "task_id": "by hand"})], {}, outside=["I3"])
    name = "flow that is over without a task, and to be closed"
    own = {"task_flow_id": name, "task_id": "by hand", "flow_status": 3, "closing": 1}
    yield flow(name, [(FLOW, own)], {}, outside=["I3"])


def waits() -> Iterator[Poison]:
    name = "wait for a task that is not there"
    yield flow(name, [wait_row(name, 1)], {})
    name = "wait for a task that is not there, and due"
    yield flow(name, [wait_row(name, 1, due_ts="2020-01-01 00:00:00")], {})
    for kind in ("nonsense", "", "MESSAGE", "flow", "turn", "poke", "callback"):
        name = f"wait of the kind {kind!r}"
        yield flow(name, [*chain(name, {1: -1}), wait_row(name, 1, kind=kind)], {})
    for state in ("ajar", ""):
        name = f"wait in the state {state!r}"
        yield flow(name, [*chain(name, {1: -1}), wait_row(name, 1, state=state)], {1: RUNS}, refused_by=ALL)
    for instant in ("9999-12-31 00:00:00", "0001-01-01 00:00:00"):
        name = f"wait due {instant}"
        yield flow(name, [*chain(name, {1: -1}), wait_row(name, 1, due_ts=instant)], {})
    name = "wait due infinity"
    yield flow(name, [*chain(name, {1: -1}), wait_row(name, 1, due_ts="infinity")], {}, refused_by=[MARIADB])
    for what, document in {"no JSON": "{n:3", "deep": "[" * 10_000, "empty": "", "5 MB": "9" * 5_000_000}.items():
        name = f"wait with a payload that is {what}"
        rows = [*chain(name, {1: -1}), wait_row(name, 1, payload=document, due_ts="2020-01-01 00:00:00")]
        yield flow(name, rows, {1: RUNS})
        name = f"wait with details that are {what}"
        rows = [*chain(name, {1: -1}), wait_row(name, 1, details=document, kind="poke", due_ts="2020-01-01 00:00:00")]
        yield flow(name, rows, {1: RUNS})
    for column in ("kind", "name", "correlation_key", "payload", "details", "closed_by"):
        name = f"wait whose {column} is no UTF-8"
        bad = {column: Raw("CAST(x'FF41FE' AS TEXT)")}
        yield flow(name, [*chain(name, {1: -1}), wait_row(name, 1, **bad)], {}, only_on=SQLITE)


def messages() -> Iterator[Poison]:
    def letter(name: str, number: int = 1, /, **columns: Any) -> Row:
        plain = {"message_id": short_id(f"{name}/{number}"), "name": name, "correlation_key": "k", "payload": "{}"}
        return MESSAGE, plain | {"sent_ts": "2026-01-01 00:00:00"} | columns

    def awaited(name: str, *letters: Row) -> list[Row]:
        return [
            *chain(name, {1: -1}, exec_status=0, wait_count=1),
            wait_row(name, 1, name=name, correlation_key="k"),
            *letters,
        ]

    documents = {
        "no JSON": "{n:3",
        "empty": "",
        "deep": "[" * 10_000 + "]" * 10_000,
        "NULL": None,
        "5,000 digits": "9" * 5_000,
        "5 MB": '"' + "x" * 5_000_000 + '"',
        "html": "<script>",
    }
    for what, document in documents.items():
        name = f"message with a payload that is {what}"
        yield flow(name, awaited(name, letter(name, payload=document)), {1: RUNS})
    name = "message of 20 MB"
    yield flow(name, awaited(name, letter(name, payload="9" * 20_000_000)), {1: RUNS}, refused_by=[MARIADB])
    name = "message that nobody awaits"
    yield flow(name, [letter(name)], {})
    name = "message that has expired"
    yield flow(name, [letter(name, expires_ts="0001-01-01 00:00:00")], {})
    name = "message that never expires"
    yield flow(name, [letter(name, expires_ts="9999-12-31 00:00:00")], {})
    name = "message to a wait that is not there"
    yield flow(name, [letter(name, wait_id="nobody")], {}, outside=["W3"])
    name = "message sent in the year 1"
    yield flow(name, awaited(name, letter(name, sent_ts="0001-01-01 00:00:00")), {1: RUNS})
    name = "message sent at infinity"
    yield flow(name, awaited(name, letter(name, sent_ts="infinity")), {1: RUNS}, refused_by=[MARIADB])
    name = "message called as a call-back"
    yield flow(name, [letter(name, name="~callback", correlation_key="no token")], {})
    name = "100 messages to one wait"
    yield flow(name, awaited(name, *(letter(name, number) for number in range(100))), {1: RUNS})
    name = "message with a NUL"
    yield flow(name, [letter(name, payload="\x00")], {}, refused_by=[SQLITE, POSTGRESQL])
    for column in ("name", "correlation_key", "payload", "sent_by"):
        name = f"message whose {column} is no UTF-8"
        bad = {column: Raw("CAST(x'FF41FE' AS TEXT)")}
        yield flow(name, awaited(name, letter(name, **bad)), {}, only_on=SQLITE, outside=["I11b"])
