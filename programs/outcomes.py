"""What a program may answer: a closed set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

AWAITABLE: Final = ("timer", "message", "approval", "form", "callback", "flow")
WaitKind: TypeAlias = Literal["timer", "message", "approval", "form", "callback", "flow"]


@dataclass(frozen=True)
class Finish:
    """The work is done. The result is JSON data, there for later tasks and for SQL."""

    result: Any = None


@dataclass(frozen=True)
class Fail:
    """The work failed, for a reason a person can act on. Raising an exception does the same, with a traceback."""

    error: str
    retry: bool = True  # False: another try would fail in the same way, whatever the task's retry rule allows

    def __post_init__(self) -> None:
        if not isinstance(self.error, str):
            raise ValueError(f"Fail takes the reason as a string, got {self.error!r}")


@dataclass(frozen=True)
class Again:
    """Not yet: run once more `after` seconds (or a timedelta) from now, or `at` a time. Holds no slot until then.

    `timeout` (seconds or a timedelta) counts from the first Again of the task: once it is over, the task fails.
    """

    after: float | timedelta | None = None
    at: datetime | None = None
    timeout: float | timedelta | None = None

    def __post_init__(self) -> None:
        if (self.after is None) == (self.at is None):
            raise ValueError("Again takes either `after` or `at`, exactly one of them")
        if self.at is None:
            _refuse_delay("Again(after=...)", self.after)
        elif not isinstance(self.at, datetime) or self.at.utcoffset() is None:
            raise ValueError(f"Again(at=...) takes a datetime with a time zone, got {self.at!r}")
        if self.timeout is not None:
            _refuse_delay("Again(timeout=...)", self.timeout)


@dataclass(frozen=True)
class Choose:
    """The work is done, and of the steps behind it only these run: by name, or by `task_seq`. Others are ignored."""

    steps: Sequence[str | int]
    result: Any = None

    def __init__(self, *steps: str | int, result: Any = None) -> None:
        wrong = [step for step in steps if isinstance(step, bool) or not isinstance(step, str | int)]
        if wrong:
            raise ValueError(f"Choose takes names of steps or their task_seq, got {wrong[0]!r}")
        object.__setattr__(self, "steps", tuple(dict.fromkeys(steps)))
        object.__setattr__(self, "result", result)


@dataclass(frozen=True)
class Await:
    """Not yet: run once more when this arrives, or `until` is over. Holds no slot until then.

    `kind` and what belongs to it:
    `timer`: only `until`. `message`: `name` and correlation `key`. `approval` and `form`: `name` says what is asked,
    `details` may hold a prompt, a JSON schema, who may answer. `callback`: `key` is a token of `call.new_token()`,
    which whoever calls back must show. `flow`: `name` is the workflow to run as a flow of its own, `details` may hold
    its `parameters`, `run_key` and `priority`.

    `until` is a time with a zone, or seconds or a timedelta from now. What came is in `call.arrivals` of the next run.
    """

    kind: WaitKind
    name: str | None = None
    key: str | None = None
    until: datetime | timedelta | float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in AWAITABLE:
            raise ValueError(f"Await takes one of {', '.join(AWAITABLE)}, got {self.kind!r}")
        needed = {"timer": ("until",), "message": ("name", "key"), "callback": ("key",), "flow": ("name",)}
        for part in needed.get(self.kind, ("name",)):
            if getattr(self, part) is None:
                raise ValueError(f"Await({self.kind!r}) needs {part!r}")
        for part in ("name", "key"):
            text = getattr(self, part)
            if text is not None and not (isinstance(text, str) and 1 <= len(text) <= 256):
                raise ValueError(f"Await({part}=...) takes a text of 1 to 256 characters, got {text!r}")
        if isinstance(self.until, datetime):
            if self.until.utcoffset() is None:
                raise ValueError(f"Await(until=...) takes a datetime with a time zone, got {self.until!r}")
        elif self.until is not None:
            _refuse_delay("Await(until=...)", self.until)


@dataclass(frozen=True)
class Task:
    """A task to be added to the running flow. `after` names other tasks of the same plan: by name, or by place (0 is
    the first). `options` are columns of `ms_task_option` for it: `queue`, `max_attempts`, `timeout_s` ..."""

    program: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    after: Sequence[str | int] = ()
    priority: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The work is done, and these tasks are added to the flow behind it. What waits for this task waits for the last of
    them too (`join=False`: it does not), and reads their results in the order of the plan in `call.upstream`."""

    tasks: Sequence[Task]
    result: Any = None
    join: bool = True


Outcome: TypeAlias = Finish | Fail | Again | Choose | Await | Plan
OUTCOMES: Final = (Finish, Fail, Again, Choose, Await, Plan)


def _refuse_delay(what: str, delay: object) -> None:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError(f"{what} takes seconds or a timedelta, got {delay!r}")
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{what} takes a finite delay of 0 or more, got {delay!r}")
