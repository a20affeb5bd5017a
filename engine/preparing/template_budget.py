"""What one rendering may take: steps, and the size of what it makes. A template cannot be stopped from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, timedelta
from typing import Any, Final

from jinja2 import Undefined

MAX_STEPS: Final = 3_000_000
MAX_ROUNDS: Final = 100_000
"""Turns of loops, all of a rendering together."""
MAX_CHARS: Final = 1024 * 1024
MAX_BITS: Final = 4_096
CHARS_PER_STEP: Final = 8


class BadTemplate(Exception):
    """A template cannot be read, asks for what there is not, or takes too much."""


class Budget:
    """What is left for the templates of one task."""

    def __init__(self) -> None:
        self._steps = MAX_STEPS
        self._rounds = MAX_ROUNDS

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise BadTemplate(f"takes more than {MAX_STEPS:,} steps")

    def turn(self) -> None:
        self._rounds -= 1
        if self._rounds < 0:
            raise BadTemplate(f"goes round in its loops more than {MAX_ROUNDS:,} times")


_budget: ContextVar[Budget] = ContextVar("budget")


@contextmanager
def budget() -> Iterator[None]:
    """Everything rendered inside shares one budget."""
    token = _budget.set(Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def weighed(value: Any) -> Any:
    """The value, after its whole size was spent: it is about to be compared, copied or written."""
    spend = _budget.get().spend
    values = [value]
    while values:
        item = values.pop()
        if isinstance(item, str):
            spend(1 + len(item) // CHARS_PER_STEP)
        elif isinstance(item, Mapping):
            spend(1 + len(item))
            values += item
            values += item.values()
        elif isinstance(item, list | tuple):
            spend(1 + len(item))
            values += item
        else:
            spend(1)
    return value


def counted(values: Iterable[Any]) -> Iterator[Any]:
    """What a loop goes through, each turn counted."""
    if isinstance(values, Undefined) or not isinstance(values, list | tuple | str | Mapping | range):
        raise BadTemplate(f"cannot loop over {kind(values)}")
    here = _budget.get()
    for value in values:
        here.turn()
        yield value


def room_for(chars: int) -> None:
    """Before a text of this many characters is made."""
    if chars > MAX_CHARS:
        raise BadTemplate(f"makes a text of {chars:,} characters, at most {MAX_CHARS:,} are allowed")
    _budget.get().spend(1 + chars // CHARS_PER_STEP)


def kind(value: Any) -> str:
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()
    kinds: dict[type, str] = {
        str: "a text",
        bool: "a truth value",
        dict: "an object",
        list: "a list",
        type(None): "null",
    }
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _plus(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        room_for(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        weighed(left), weighed(right)
        return left + right
    if _numbers(left, right) or (isinstance(left, date) and isinstance(right, timedelta)):
        return left + right
    raise BadTemplate(f"cannot add {kind(right)} to {kind(left)}; texts are joined with ~")


def _minus(left: Any, right: Any) -> Any:
    if _numbers(left, right):
        return left - right
    raise BadTemplate(f"cannot subtract {kind(right)} from {kind(left)}")


def _arithmetic(sign: str, work: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def checked(left: Any, right: Any) -> Any:
        if not _numbers(left, right):
            raise BadTemplate(f"{sign} is for numbers, not for {kind(left)} and {kind(right)}")
        return work(left, right)

    return checked


def _times(left: Any, right: Any) -> Any:
    if sum(value.bit_length() for value in (left, right) if isinstance(value, int)) > MAX_BITS:
        raise BadTemplate("makes a number that is too large")
    return left * right


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MAX_BITS:
        raise BadTemplate("makes a number that is too large")
    return base**exponent


OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": _plus,
    "-": _minus,
    "*": _arithmetic("*", _times),
    "**": _arithmetic("**", _power),
    "/": _arithmetic("/", lambda left, right: left / right),
    "//": _arithmetic("//", lambda left, right: left // right),
    "%": _arithmetic("%", lambda left, right: left % right),
}
