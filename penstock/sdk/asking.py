"""Requests as values, and the methods that make them: one definition serves both clients.

A method decorated with `asking` builds a `Request`, one with `listing` a `Listing`. Called on a `Client` it is carried
out at once; on an `AsyncClient` it is awaited, or iterated over with `async for`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from engine import jsontext
from penstock.doors.door import Door, Page
from penstock.sdk.errors import unfit

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Request(Generic[T]):
    """Something to be asked of a door, and how its answer is read."""

    of: Callable[[Door], Any]
    read: Callable[[Any], T]
    is_repeatable: bool = True
    """May it be asked again when nobody knows whether it was done? A read may, and what has an idempotency key."""


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A list to be read page by page: `page` asks for the one at a cursor."""

    page: Callable[[Door, str | None], Page]
    read: Callable[[Any], T]


@dataclass(frozen=True)
class Command(Generic[T]):
    """A command of docs/commands.md. Arguments that are None were not given."""

    verb: str
    subject: str | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    read: Callable[[Any], T] = field(default=lambda answer: answer)
    is_repeatable: bool = False

    @property
    def request(self) -> Request[T]:
        """Errors: BadRequest for arguments that are no JSON."""
        told = {name: value for name, value in self.arguments.items() if value is not None}
        try:
            jsontext.dumps(told)
        except jsontext.NotJSON as error:
            raise unfit(f"{self.verb}: what it is told", error) from error
        return Request(lambda door: door.ask(self.verb, self.subject, told, self.reason), self.read, self.is_repeatable)


def nothing(answer: Mapping[str, Any]) -> None:
    """How the answer of a command is read that only says that it was done."""


def as_list(values: Sequence[Any] | None) -> list[Any] | None:
    """An argument as JSON has it."""
    return None if values is None else list(values)


class Sync:
    """A client that answers at once."""

    def _carry_out(self, request: Request[T]) -> T:
        raise NotImplementedError

    def _iterate(self, listing: Listing[T]) -> Iterator[T]:
        raise NotImplementedError


class Async:
    """A client that is awaited."""

    async def _carry_out(self, request: Request[T]) -> T:
        raise NotImplementedError

    def _iterate(self, listing: Listing[T]) -> AsyncIterator[T]:
        raise NotImplementedError


class asking(Generic[P, T]):  # noqa: N801 - a decorator
    """A method that makes a request or a command."""

    def __init__(self, make: Callable[Concatenate[Any, P], Request[T] | Command[T]]) -> None:
        self._make = make

    @overload
    def __get__(self, client: None, kind: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, client: Sync, kind: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Async, kind: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: Sync | Async | None, kind: type) -> Any:
        return self._make if client is None else _bound(self._make, client, self._ask)

    def _ask(self, client: Sync | Async, *args: P.args, **kwargs: P.kwargs) -> Any:
        made = self._make(client, *args, **kwargs)
        return client._carry_out(made.request if isinstance(made, Command) else made)


class listing(Generic[P, T]):  # noqa: N801
    """A method that makes a listing."""

    def __init__(self, make: Callable[Concatenate[Any, P], Listing[T]]) -> None:
        self._make = make

    @overload
    def __get__(self, client: None, kind: type) -> Callable[..., Any]: ...
    @overload
    def __get__(self, client: Sync, kind: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Async, kind: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Sync | Async | None, kind: type) -> Any:
        return self._make if client is None else _bound(self._make, client, self._list)

    def _list(self, client: Sync | Async, *args: P.args, **kwargs: P.kwargs) -> Any:
        return client._iterate(self._make(client, *args, **kwargs))


def _bound(make: Callable[..., Any], client: Sync | Async, call: Callable[..., Any]) -> Callable[..., Any]:
    """With the name, the documentation and the signature of what it calls."""
    return update_wrapper(partial(call, client), make)
