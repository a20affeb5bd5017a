"""What a program is, what it is given, and what it may answer."""

import inspect
import logging
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, update_wrapper
from typing import Any, ClassVar, Generic, ParamSpec, TypeAlias, TypeVar, cast, overload

P = ParamSpec("P")
R = TypeVar("R")


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
    """Not yet: run once more `after` seconds (or a timedelta) from now, or `at` a time. Holds no slot until then."""

    after: float | timedelta | None = None
    at: datetime | None = None

    def __post_init__(self) -> None:
        if (self.after is None) == (self.at is None):
            raise ValueError("Again takes either `after` or `at`, exactly one of them")
        if self.at is None:
            _refuse_delay(self.after)
        elif not isinstance(self.at, datetime) or self.at.utcoffset() is None:
            raise ValueError(f"Again(at=...) takes a datetime with a time zone, got {self.at!r}")


def _refuse_delay(after: object) -> None:
    seconds = after.total_seconds() if isinstance(after, timedelta) else after
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ValueError(f"Again(after=...) takes seconds or a timedelta, got {after!r}")
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"Again(after=...) takes a finite delay of 0 or more, got {after!r}")


Outcome: TypeAlias = Finish | Fail | Again
OUTCOMES = (Finish, Fail, Again)


class Stopped(Exception):
    """The watcher interrupted the work; let it pass, and the task is handed back without counting as a try."""


@dataclass(frozen=True, eq=False)
class Call:
    """One execution of one task: all that a program gets.

    `attempt` is 1 on the first try and counts only tries that are charged; `claim_id` is new for every claim.
    `params` are this task's parameters, checked; `flow_parameters` are the whole flow's, as given.
    `results` maps `task_exec_seq` to the result of an earlier task of the flow, read when asked for.
    `stop` is set when the watcher stops or the task is cancelled.
    """

    flow_id: str
    exec_seq: int
    task_id: str
    task_seq: int
    program: str
    attempt: int
    claim_id: str
    params: Mapping[str, Any] = field(repr=False)  # may hold secrets that have not been wrapped yet
    flow_parameters: Mapping[str, Any] = field(repr=False)
    results: Mapping[int, Any] = field(repr=False)
    logger: logging.Logger
    stop: threading.Event

    @property
    def stopping(self) -> bool:
        """True once the work should end: leave loops, tidy up, `raise Stopped`."""
        return self.stop.is_set()

    def sleep(self, seconds: float) -> None:
        """Sleep, but raise `Stopped` as soon as the watcher stops. In `async def`: `to_thread(call.sleep, 5)`."""
        if self.stop.wait(min(seconds, threading.TIMEOUT_MAX)):
            raise Stopped(f"stopped while sleeping {seconds:g} s")


class Program(ABC):
    """Named work. The first line of the docstring is the description; the signature of `run` is the parameter schema.

    `run` is called from several threads at once on the same object: keep what belongs to one call in local variables.
    """

    name: ClassVar[str]  # the text in the `program` column; never reused for other work

    @abstractmethod
    def run(self, call: Call, *args: Any, **params: Any) -> Outcome | Awaitable[Outcome]:
        """Do the work: `def` or `async def`, named and annotated parameters after the call."""

    @property
    def function(self) -> Callable[..., Any]:
        """The function whose signature is the parameter schema."""
        return type(self).run

    @property
    def description(self) -> str:
        """First line of the docstring, or an empty string."""
        return (self.__doc__ or "").strip().partition("\n")[0].strip()


class FunctionProgram(Program, Generic[P, R]):
    """A plain function as a program; calling it calls the function."""

    name: str  # type: ignore[misc]  # one class for all functions, so the name is each object's own

    def __init__(self, function: Callable[P, R], name: str | None = None) -> None:
        self._function = function
        update_wrapper(cast("Callable[..., Any]", self), function)
        self.name = name or function.__name__

    @property
    def function(self) -> Callable[P, R]:
        return self._function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    @cached_property
    def takes_call(self) -> bool:
        """Whether the function's first parameter is the call. Not asked before its module is imported to the end."""
        return takes_call(inspect.signature(self._function, eval_str=True))

    def run(self, call: Call, /, *args: Any, **params: Any) -> Outcome | Awaitable[Outcome]:  # type: ignore[override]
        # Positional-only, so that a function may have a parameter of its own called `call`.
        function = cast("Callable[..., Any]", self._function)
        answer = function(call, *args, **params) if self.takes_call else function(*args, **params)
        return _outcome_later(answer) if inspect.isawaitable(answer) else _outcome(answer)


def takes_call(signature: inspect.Signature) -> bool:
    """Whether the first parameter takes the Call: annotated `Call`, or named `call`."""
    first = next(iter(signature.parameters.values()), None)
    return first is not None and (first.annotation is Call or first.name == "call")


def _outcome(answer: object) -> Outcome:
    if isinstance(answer, OUTCOMES) or any(answer is kind for kind in OUTCOMES):
        return cast("Outcome", answer)  # `return Finish` without brackets is no result: let `invoke` refuse it
    return Finish(answer)


async def _outcome_later(answer: Awaitable[object]) -> Outcome:
    return _outcome(await answer)


@overload
def program(name: Callable[P, R], /) -> FunctionProgram[P, R]: ...
@overload
def program(name: str | None = None) -> Callable[[Callable[P, R]], FunctionProgram[P, R]]: ...
def program(name: str | Callable[..., Any] | None = None) -> object:
    """Make a program of a function, named like the function or `name`: `@program` or `@program("other name")`.

    A first parameter annotated `Call` (or named `call`) gets the call. What is returned is the result, unless it is
    an outcome.
    """
    if callable(name):
        return FunctionProgram(name)
    return lambda function: FunctionProgram(function, name)
