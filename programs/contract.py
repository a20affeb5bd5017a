"""What a program is, what it is given, and what it may answer."""

import inspect
import logging
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, update_wrapper
from types import MappingProxyType
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, cast, overload

from programs.outcomes import OUTCOMES, Finish, Outcome

P = ParamSpec("P")
R = TypeVar("R")


class Stopped(Exception):
    """The watcher interrupted the work; let it pass, and the task is handed back without counting as a try."""


@dataclass(frozen=True)
class Arrival:
    """Something that the task awaited: it came, or its time was over (`expired`). `kind`, `name` and `key` are those of
    the Await; `payload` is what was sent or answered, `by` who did; for a flow, its result."""

    kind: str
    name: str | None
    key: str | None
    payload: Any
    expired: bool
    at: datetime
    by: str | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """One execution of one task: all that a program gets.

    `attempt` is 1 on the first try and counts only tries that are charged; `claim_id` is new for every claim, and
    `fence` is larger with every claim: what keeps the newest writer only may refuse smaller ones.
    `params` are this task's parameters, checked; `flow_parameters` are the whole flow's, as given.
    `results` maps `task_exec_seq` to the result of an earlier task of the flow; `upstream` holds the results of the
    tasks that this one waited for, in run order; `arrivals` what it awaited, oldest first. All three are read from the
    database when asked for.
    `stop` is set when the watcher stops or the task is cancelled. `http_networks` are the internal networks to which an
    operator lets programs send requests; `guarded_session(call)` heeds them.
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
    upstream: Sequence[Any] = field(default=(), repr=False)
    arrivals: Sequence[Arrival] = field(default=(), repr=False)
    fence: int = 1
    http_networks: Sequence[str] = ()

    @property
    def stopping(self) -> bool:
        """True once the work should end: leave loops, tidy up, `raise Stopped`."""
        return self.stop.is_set()

    def checked(self, params: Mapping[str, Any]) -> "Call":
        """The same call with these parameters: dataclasses.replace() would take longer than most of the rest."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, params=MappingProxyType(params))
        return made

    @staticmethod
    def new_token() -> str:
        """A secret for `Await("callback", key=token)`: whoever calls back shows it. Only its hash is kept."""
        return secrets.token_urlsafe(32)

    def sleep(self, seconds: float) -> None:
        """Sleep, but raise `Stopped` as soon as the watcher stops. In `async def`: `await asyncio.sleep(5)`."""
        if self.stop.wait(min(seconds, threading.TIMEOUT_MAX)):
            raise Stopped(f"stopped while sleeping {seconds:g} s")


class Program(ABC):
    """Named work. The first line of the docstring is the description; the signature of `run` is the parameter schema.

    `run` is called from several threads at once on the same object: keep what belongs to one call in local variables.
    """

    name: ClassVar[str]  # the text in the `program` column; never reused for other work
    executor: ClassVar[str | None] = None
    """Where it runs unless a definition says otherwise: `thread`, `async` or `process`. None is `async` for an
    `async def run`, else `thread`."""
    stays_inside: ClassVar[bool] = False
    """True: it needs the watcher's own process, and is never moved to another, whatever became of earlier tries."""

    @abstractmethod
    def run(self, call: Call, *args: Any, **params: Any) -> Outcome | Awaitable[Outcome]:
        """Do the work: `def` or `async def`, named and annotated parameters after the call."""

    @property
    def function(self) -> Callable[..., Any]:
        """The function whose signature is the parameter schema."""
        return type(self).run

    @cached_property
    def is_async(self) -> bool:
        """Is its work an `async def`?"""
        return inspect.iscoroutinefunction(self.function)

    @property
    def chosen_executor(self) -> str:
        """Where it runs unless a definition says otherwise."""
        return self.executor or ("async" if self.is_async else "thread")

    @property
    def description(self) -> str:
        """First line of the docstring, or an empty string."""
        return (self.__doc__ or "").strip().partition("\n")[0].strip()


class FunctionProgram(Program, Generic[P, R]):
    """A plain function as a program; calling it calls the function."""

    name: str  # type: ignore[misc]  # one class for all functions, so the name is each object's own
    executor: str | None  # type: ignore[misc]

    def __init__(self, function: Callable[P, R], name: str | None = None, executor: str | None = None) -> None:
        self._function = function
        update_wrapper(cast("Callable[..., Any]", self), function)
        self.name = name or function.__name__
        self.executor = executor

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
def program(
    name: str | None = None, *, executor: str | None = None
) -> Callable[[Callable[P, R]], FunctionProgram[P, R]]: ...
def program(name: str | Callable[..., Any] | None = None, *, executor: str | None = None) -> object:
    """Make a program of a function, named like the function or `name`: `@program` or `@program("other name")`.
    `executor` says where it runs, as in a class: `@program(executor="process")`.

    A first parameter annotated `Call` (or named `call`) gets the call. What is returned is the result, unless it is
    an outcome.
    """
    if callable(name):
        return FunctionProgram(name)
    return lambda function: FunctionProgram(function, name, executor)
