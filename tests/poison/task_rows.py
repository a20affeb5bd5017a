"""Poison in single rows of `kr_task_stat`: programs, parameters, ids, numbers, times, templates, mappings."""

from __future__ import annotations

import json
from collections.abc import Iterator

from poison import (
    ALL,
    MARIADB,
    POSTGRESQL,
    RUNS,
    SERVERS,
    SQLITE,
    WAITS,
    End,
    Poison,
    Raw,
    ignored,
    one_task,
    suspended,
)

from engine.states import Reason

UNKNOWN = suspended(Reason.UNKNOWN_PROGRAM)
BAD_PARAMETERS = suspended(Reason.BAD_PARAMETERS)
BAD_ROW = suspended(Reason.BAD_ROW)
BAD_RESULT = suspended(Reason.BAD_RESULT)


def task_rows() -> Iterator[Poison]:
    yield from programs()
    yield from parameters()
    yield from ids()
    yield from priorities()
    yield from statuses()
    yield from counts()
    yield from times()
    yield from numbers()
    yield from retries()
    yield from options()
    yield from templates()
    yield from mappings()


PROGRAMS = {
    "nobody has": "NoSuchProgram",
    "empty": "",
    "blank": " ",
    "trailing blank": "Noop ",
    "leading blank": " Noop",
    "case twin": "noop",
    "capitals": "NOOP",
    "dotted import": "os.system",
    "module and name": "programs.echo:Noop",
    "built-in module": "builtins.exec",
    "dunder import": "__import__('os').system('id')",
    "import statement": "import os",
    "path": "/bin/sh",
    "path up": "../../programs/echo",
    "pickle": "cos\nsystem\n(S'id'\ntR.",
    "format": "{0.__class__.__mro__}",
    "template": "{{ 7 * 7 }}",
    "dunder class": "__class__",
    "dunder init": "__init__",
    "quotes": "No'op\"",
    "sql": "Noop'; DROP TABLE kr_task_stat; --",
    "look-alike": "N\u043e\u043ep",
    "zero width": "No\u200bop",
    "newline": "Noop\n",
    "null text": "null",
    "longest": "x" * 256,
}


def programs() -> Iterator[Poison]:
    for name, program in PROGRAMS.items():
        yield one_task(f"program, {name}", UNKNOWN, program=program)
    yield one_task("program, NULL and no definition", UNKNOWN, program=None, task_id="nowhere defined")
    yield one_task("program, 100,000 characters", UNKNOWN, program="x" * 100_000, refused_by=SERVERS)
    yield one_task("program, NUL", UNKNOWN, program="No\x00op", refused_by=(SQLITE, POSTGRESQL))
    yield one_task("program, lone surrogate", UNKNOWN, program="No\ud800op", refused_by=ALL)
    yield one_task("program, a blob", UNKNOWN, program=Raw("x'4E6F6F70'"), refused_by=(SQLITE,), only_on=SQLITE)


PARAMETERS = {
    "empty": "",
    "blanks": "   ",
    "cut off": '{"a":',
    "unquoted": "{n:3",
    "single quotes": "{'a': 1}",
    "trailing comma": '{"a": 1,}',
    "comment": '{"a": 1} // really',
    "two documents": "{}{}",
    "array": "[1]",
    "text": '"x"',
    "number": "3",
    "true": "true",
    "null": "null",
    "duplicate key": '{"a": 1, "a": 2}',
    "duplicate key below": '{"a": {"b": 1, "b": 2}}',
    "NaN": '{"a": NaN}',
    "Infinity": '{"a": Infinity}',
    "minus Infinity": '{"a": [-Infinity]}',
    "beyond a double": '{"a": 1e999}',
    "5,000 digits": '{"a": ' + "9" * 5_000 + "}",
    "byte order mark": "\ufeff{}",
    "depth 10,000": '{"a": ' + "[" * 10_000 + "]" * 10_000 + "}",
    "depth 100,000": "[" * 100_000 + "]" * 100_000,
    "objects 10,000 deep": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "yaml": "a: 1\nb: 2",
    "pickle": "cos\nsystem\n(S'id'\ntR.",
    "html": "<script>alert(1)</script>",
    "escape that is none": '{"a": "\\x41"}',
    "control character": '{"a": "\x01"}',
    "bare surrogate escape at the end": '{"a": "\\ud800',
    "leading zero": '{"a": 007}',
    "hexadecimal": '{"a": 0xff}',
}
VALUES = {
    "30 digits": ("9" * 30, RUNS),
    "NUL escape": ('"\\u0000"', RUNS),
    "lone surrogate escape": ('"\\ud800"', BAD_RESULT),
    "10,000 keys": (json.dumps({f"k{number}": number for number in range(10_000)}), RUNS),
    "template that nobody marked": ('"{{ 1 / 0 }}"', RUNS),
    "script": ('"<script>alert(1)</script>"', RUNS),
    "1 MiB": ('"' + "x" * (1024 * 1024 - 2) + '"', RUNS),
    "1 MiB and a byte": ('"' + "x" * (1024 * 1024 - 1) + '"', BAD_RESULT),
}
"""What the program is given, and returns."""


def parameters() -> Iterator[Poison]:
    for name, document in PARAMETERS.items():
        yield one_task(f"parameters, {name}", BAD_PARAMETERS, parameters=document)
    for name, (value, end) in VALUES.items():
        yield one_task(f"parameters, {name}", end, program="Value", parameters=f'{{"VALUE": {value}}}')
    yield one_task("parameters, a key that no program has", BAD_PARAMETERS, parameters='{"__class__": 1}')
    yield one_task("parameters, NULL", BAD_PARAMETERS, parameters=None, refused_by=ALL)
    yield one_task("parameters, NUL", BAD_PARAMETERS, parameters='{"a": "\x00"}', refused_by=(SQLITE, POSTGRESQL))
    yield one_task("parameters, lone surrogate", BAD_PARAMETERS, parameters='{"a": "\ud800"}', refused_by=ALL)
    huge = '{"a": "' + "x" * 20_000_000 + '"}'
    yield one_task("parameters, 20 MB", BAD_PARAMETERS, parameters=huge, refused_by=(MARIADB,))
    yield one_task("parameters, 5 MB", BAD_PARAMETERS, parameters='{"a": "' + "x" * 5_000_000 + '"}')
    yield one_task(
        "parameters, no number",
        BAD_PARAMETERS,
        program="EchoParamTimeSleep",
        parameters='{"SLEEP_TIME_SECOND": "soon"}',
    )
    yield one_task("parameters, missing", BAD_PARAMETERS, program="EchoParamTimeSleep")
    for seconds in ("-1", '"NaN"', '"1e999"', "{}", "null"):
        row = {"program": "EchoParamTimeSleep", "parameters": f'{{"SLEEP_TIME_SECOND": {seconds}}}'}
        yield one_task(f"parameters, sleep for {seconds}", BAD_PARAMETERS, **row)


IDS = {
    "quotes": 'it\'s "quoted"',
    "sql": "x'; DROP TABLE kr_task_stat; --",
    "percent": "100% %s %(x)s %d",
    "underscore and percent": "_%",
    "colon": ":x :flow ::text",
    "braces": "{0} {x} {{ 7 * 7 }}",
    "right to left": "abc\u202egpj.exe",
    "emoji": "\U0001f6b0\U0001f527",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "path up": "../../etc/passwd",
    "newline": "line one\nERROR line two",
    "carriage return": "a\rb",
    "escape sequence": "\x1b[2J\x1b]0;title\x07",
    "script": "<script>alert(1)</script>",
    "case": "POISON: CASE",
    "case twin": "poison: case",
    "trailing blank twin": "poison: case ",
    "accent twin": "poison: c\u00e4se",
    "sharp s": "stra\u00dfe",
    "double s": "strasse",
    "backslash": "a\\b\\",
    "tab": "a\tb",
    "blank": " ",
    "longest": "\u5de5" * 256,
    "null text": "NULL",
    "control": "\x01\x02",
    "private use": "\ue000\U0010ffff",
}


def ids() -> Iterator[Poison]:
    for name, flow_id in IDS.items():
        yield one_task(f"flow id, {name}", RUNS, task_flow_id=flow_id)
        yield one_task(f"task id, {name}", RUNS, task_id=flow_id)
    yield one_task("flow id, empty", RUNS, task_flow_id="")
    yield one_task("flow id, NUL", RUNS, task_flow_id="a\x00b", refused_by=(SQLITE, POSTGRESQL))
    yield one_task("flow id, 257 characters", RUNS, task_flow_id="y" * 257, refused_by=SERVERS)
    for name in ("quotes", "sql", "right to left", "emoji", "newline", "script", "percent"):
        yield one_task(f"name, {name}", RUNS, name=IDS[name])
        yield one_task(f"limit key, {name}", RUNS, limit_key=IDS[name])


def priorities() -> Iterator[Poison]:
    for value in (-21, 20, 127, 32_767, -32_768, 10**6, 2**31, 10**30):
        yield one_task(f"priority, {value}", BAD_ROW, task_priority=value, refused_by=ALL)
    for value in (None, "high", Raw("1.5")):
        refused = (SQLITE,) if isinstance(value, Raw) else ALL
        yield one_task(f"priority, {value}", RUNS, task_priority=value, refused_by=refused)
    yield one_task("priority, most urgent", UNKNOWN, task_priority=-20, program="NoSuchProgram")
    yield one_task("priority, least urgent", UNKNOWN, task_priority=19, program="NoSuchProgram")


def statuses() -> Iterator[Poison]:
    for value in (4, -1, 8, 10, 255, None, "wait", 10**30):
        yield one_task(f"status, {value}", BAD_ROW, exec_status=value, refused_by=ALL)
    long_ago = "2020-01-01 00:00:00"
    for name, columns in {
        "without anything": {},
        "without a lease, long ago": {"started_ts": long_ago},
        "of a watcher that never was": {"owner": "nobody", "claim_id": "no-claim", "started_ts": long_ago},
        "in the year 9999": {"started_ts": "9999-12-31 00:00:00", "owner": "nobody"},
    }.items():
        yield one_task(f"status, running {name}", RUNS, exec_status=1, wait_count=0, **columns)
    yield one_task("status, running and awaiting 5", RUNS, exec_status=1, wait_count=5)
    yield one_task("status, suspended without a reason", suspended(Reason.PAUSED), exec_status=2)
    yield one_task("status, suspended with a reason of its own", suspended("because"), exec_status=2, reason="because")
    yield one_task("status, finished by hand", RUNS, exec_status=3)
    yield one_task("status, ignored by hand", ignored(Reason.IGNORED), exec_status=9)
    for status in (0, 3, 9):
        for reason in (Reason.SKIPPED, Reason.ROLLED_BACK, Reason.SUPERSEDED, "\U0001f527" * 16):
            end = End(9, reason) if status == 9 else RUNS
            yield one_task(f"status, {status} for the reason {reason}", end, exec_status=status, reason=reason)


def counts() -> Iterator[Poison]:
    for value in (-1, -5, -(2**31), None):
        yield one_task(f"wait_count, {value}", RUNS, wait_count=value)
    for value in (1, 10**9, 2**31 - 1):
        yield one_task(f"wait_count, {value} and nothing to wait for", WAITS, wait_count=value, outside=("I10", "I4"))
    stuck = {"outside": ("I10", "I4")}
    yield one_task("wait_count, 2 ** 31", WAITS, wait_count=2**31, refused_by=SERVERS, **stuck)
    yield one_task("wait_count, a fraction", WAITS, wait_count=Raw("1.5"), refused_by=(SQLITE,), **stuck)
    for value in (2**63, "many"):
        yield one_task(f"wait_count, {value}", WAITS, wait_count=value, refused_by=ALL)
    for status in (3, 9):
        for value in (-1, -5, 0, 7, 10**9):
            end = RUNS if status == 3 else End(9)
            outside = ("J1", "J2", "I12") if value == -5 else ("I12",) if value == -1 else ()
            name = f"wait_count, {value} on a row that is {status}"
            yield one_task(name, end, outside=outside, exec_status=status, wait_count=value)
    yield one_task("wait_count, -5 on a suspended row", suspended(Reason.PAUSED), exec_status=2, wait_count=-5)
    yield one_task("wait_count, ready with a bad program", UNKNOWN, wait_count=0, program="NoSuchProgram")
    yield one_task("wait_count, ready without a program", UNKNOWN, wait_count=0, program=None)
    yield one_task("wait_count, ready with bad parameters", BAD_PARAMETERS, wait_count=0, parameters="{n:3")
    yield one_task(
        "wait_count, ready with 5 MB", BAD_PARAMETERS, wait_count=0, parameters='{"a": "' + "x" * 5_000_000 + '"}'
    )


FAR = {"year 9999": "9999-12-31 23:59:59.999999", "year 2500": "2500-06-01 00:00:00"}
PAST = {"year 1": "0001-01-01 00:00:00", "long past": "1970-01-01 00:00:00", "a minute ago": "2020-01-01 00:00:00"}
COLUMNS = ("registered_ts", "started_ts", "finished_ts", "suspended_ts")


def times() -> Iterator[Poison]:
    for name, instant in FAR.items():
        yield one_task(f"due_ts, {name}", WAITS, due_ts=instant)
    for name, instant in PAST.items():
        yield one_task(f"due_ts, {name}", RUNS, due_ts=instant)
    yield one_task("due_ts, infinity", WAITS, due_ts="infinity", refused_by=(MARIADB,))
    yield one_task("due_ts, minus infinity", RUNS, due_ts="-infinity", refused_by=(MARIADB,))
    yield one_task("due_ts, no time", WAITS, due_ts="tomorrow morning", refused_by=SERVERS)
    yield one_task("due_ts, 31 February", RUNS, due_ts="2026-02-31 00:00:00", refused_by=SERVERS)
    yield one_task("due_ts, with a zone", RUNS, due_ts="2020-01-01T00:00:00+14:00", refused_by=(MARIADB,))
    for column in COLUMNS:
        for name, instant in (PAST | FAR).items():
            yield one_task(f"{column}, {name}", RUNS, outside=("I12",), **{column: instant})
        infinite = {column: "infinity"}
        yield one_task(f"{column}, infinity", RUNS, refused_by=(MARIADB,), outside=("I12",), **infinite)
        yield one_task(f"{column}, no time", RUNS, refused_by=SERVERS, outside=("I12",), **{column: "soon"})


def numbers() -> Iterator[Poison]:
    for column in ("attempt", "losses", "claims", "generation", "iteration", "aged"):
        is_set_back = column in ("attempt", "losses")  # by adoption, whatever it is
        end = RUNS if is_set_back else BAD_ROW
        outside = ("I15",) if column in ("attempt", "claims") else ()
        most = 32_767 if column == "aged" else 2**31 - 1
        for value in (-1, -most, most):
            yield one_task(f"{column}, {value}", end, outside=outside, **{column: value})
            yield one_task(f"{column}, ready and {value}", BAD_ROW, wait_count=0, outside=outside, **{column: value})
        yield one_task(f"{column}, {10**12}", end, refused_by=SERVERS, outside=outside, **{column: 10**12})
        for name, value in {"a text": "abc", "a blob": Raw("x'FF'")}.items():
            yield one_task(f"{column}, {name}", end, refused_by=SERVERS, outside=outside, **{column: value})
            yield one_task(
                f"{column}, ready and {name}",
                BAD_ROW,
                refused_by=SERVERS,
                wait_count=0,
                outside=outside,
                **{column: value},
            )
        yield one_task(f"{column}, NULL", RUNS, refused_by=ALL, **{column: None})
    for column in ("task_exec_seq", "task_seq", "depends_task_exec_seq"):
        yield one_task(f"{column}, text", RUNS, refused_by=ALL, **{column: "one"})


def retries() -> Iterator[Poison]:
    fails = {"program": "Value", "input_mapping": '{"x": "1 / 0"}'}
    for column, bad in {
        "max_attempts": (0, -1),
        "retry_delay_s": (-1.0,),
        "retry_backoff": (0.5, -1),
        "retry_max_delay_s": (-1,),
        "retry_jitter": (-0.1, 1.1, "some"),
    }.items():
        for value in bad:
            yield one_task(f"{column}, {value}", RUNS, refused_by=ALL, **{column: value})
    for column in ("max_attempts", "retry_delay_s", "retry_backoff", "retry_max_delay_s"):
        yield one_task(f"{column}, text", RUNS, refused_by=SERVERS, **{column: "abc"})
        yield one_task(f"{column}, a blob", RUNS, only_on=SQLITE, **{column: Raw("x'FF'")})
    yield one_task("max_attempts, 2 ** 31", RUNS, max_attempts=2**31, refused_by=SERVERS)
    yield one_task("retries, 2 billion for bad parameters", BAD_PARAMETERS, max_attempts=2**31 - 1, **fails)
    yield one_task("retry_delay_s, 1e308", RUNS, retry_delay_s=1e308)
    yield one_task("retry_delay_s, infinity", RUNS, retry_delay_s=Raw("'Infinity'"), refused_by=(MARIADB,))
    yield one_task("retry_backoff, 1e308", RUNS, retry_backoff=1e308, max_attempts=5)
    for column in ("retry_delay_s", "retry_backoff", "retry_max_delay_s", "timeout_s"):
        yield one_task(f"{column}, NaN", RUNS, refused_by=(MARIADB,), **{column: Raw("'NaN'")})
    for value in (-1.0, 0.0, 1e308):
        yield one_task(f"timeout_s, {value}", RUNS, timeout_s=value)
    yield one_task("timeout_s, text", RUNS, timeout_s="forever", refused_by=SERVERS)
    yield one_task("timeout_s, a blob", RUNS, timeout_s=Raw("x'FF'"), only_on=SQLITE)


def options() -> Iterator[Poison]:
    for column, bad in {
        "executor": ("dask", "", "THREAD", "os.system", "thread "),
        "trigger_rule": ("never", "", "ALL", "all ", "1=1"),
        "queue": ("nobody serves it", "", "DEFAULT", "default "),
        "phase": ("middle", ""),
        "made_by_exec_seq": (-1, 99, 2**62),
    }.items():
        for value in bad:
            end = {"queue": WAITS, "executor": BAD_ROW}.get(column, RUNS)
            outside = ("I4",) if column == "queue" else ()
            yield one_task(f"{column}, {value}", end, outside=outside, **{column: value})
    for value in (2, -1):
        yield one_task(f"is_exclusive, {value}", BAD_ROW, is_exclusive=value, refused_by=(POSTGRESQL,))
    yield one_task("is_exclusive, text", BAD_ROW, is_exclusive="perhaps", refused_by=SERVERS)
    yield one_task("queue, 65 characters", WAITS, queue="q" * 65, refused_by=SERVERS, outside=("I4",))
    yield one_task("executor, 17 characters", BAD_ROW, executor="e" * 17, refused_by=SERVERS)
    for column in ("name", "limit_key", "trigger_rule", "executor", "reason", "owner", "claim_id", "phase", "error"):
        end = BAD_ROW if column == "executor" else RUNS
        yield one_task(f"{column}, a blob", end, only_on=SQLITE, **{column: Raw("x'FF00FE'")})
        yield one_task(f"{column}, no UTF-8", end, only_on=SQLITE, **{column: Raw("CAST(x'FF41FE' AS TEXT)")})
    ends = {"result": RUNS, "templates": BAD_PARAMETERS, "input_mapping": BAD_PARAMETERS, "output_mapping": BAD_RESULT}
    for column, end in ends.items():
        yield one_task(f"{column}, no UTF-8", end, only_on=SQLITE, **{column: Raw("CAST(x'FF41FE' AS TEXT)")})
    yield one_task(
        "parameters, no UTF-8", BAD_PARAMETERS, only_on=SQLITE, parameters=Raw("CAST(x'7B22FF227D' AS TEXT)")
    )
    yield one_task("program, no UTF-8", UNKNOWN, only_on=SQLITE, program=Raw("CAST(x'4EFF' AS TEXT)"))


TEMPLATES = {
    "syntax": "{{ 1 +",
    "unknown name": "{{ nobody }}",
    "division": "{{ 1 / 0 }}",
    "a billion characters": "{{ 'x' * 10**9 }}",
    "a huge power": "{{ 9 ** 9 ** 9 }}",
    "endless loop": "{% for a in range(10**9) %}{% for b in range(10**9) %}x{% endfor %}{% endfor %}",
    "a large list": "{{ [0] * 10**9 }}",
    "padding": "{{ 'x'.ljust(10**9) }}",
    "format": "{{ '%999999999d' % 1 }}",
    "class": "{{ ''.__class__.__mro__ }}",
    "globals": "{{ self.__init__.__globals__ }}",
    "import": "{% import 'os' as os %}",
    "include": "{% include '/etc/passwd' %}",
    "deep": "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
    "macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "long": "{{ 1 }}" * 200_000,
}


def templates() -> Iterator[Poison]:
    for name, source in TEMPLATES.items():
        row = {"parameters": json.dumps({"VALUE": source}), "templates": '["VALUE"]', "program": "Gather"}
        yield one_task(f"template, {name}", BAD_PARAMETERS, **row)
    for name, column in {"no JSON": "VALUE", "object": "{}", "numbers": "[1]", "deep": "[" * 10_000}.items():
        yield one_task(f"templates, {name}", BAD_PARAMETERS, templates=column)


MAPPINGS = {
    "no JSON": "{n:1",
    "array": "[]",
    "a number": '{"x": 1}',
    "syntax": '{"x": "1 +"}',
    "unknown name": '{"x": "nobody"}',
    "division": '{"x": "1 / 0"}',
    "missing key": '{"x": "params.nobody"}',
    "long": json.dumps({"x": "1 + " * 50_000 + "1"}),
    "deep": json.dumps({"x": "(" * 2_000 + "1" + ")" * 2_000}),
    "costly": json.dumps({"x": "[1,2,3,4,5,6,7,8,9]" + ".map(a, [1,2,3,4,5,6,7,8,9]" * 40 + ")" * 40}),
    "bytes": '{"x": "b\'abc\'"}',
    "dunder": '{"x": "params.__class__.__mro__"}',
}


def mappings() -> Iterator[Poison]:
    for name, mapping in MAPPINGS.items():
        yield one_task(f"input_mapping, {name}", BAD_PARAMETERS, input_mapping=mapping)
        yield one_task(f"output_mapping, {name}", BAD_RESULT, output_mapping=mapping)
