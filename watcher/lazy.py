"""Collections that are read when somebody first looks into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar, overload

T = TypeVar("T")


class LazyMapping(Mapping[int, Any]):
    """A mapping that is read when somebody first looks into it."""

    def __init__(self, read: Callable[[], Mapping[int, Any]]) -> None:
        self._read = read

    @cached_property
    def _found(self) -> Mapping[int, Any]:
        return self._read()

    def __getitem__(self, key: int) -> Any:
        return self._found[key]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class LazySequence(Sequence[T]):
    """A sequence that is read when somebody first looks into it."""

    def __init__(self, read: Callable[[], Sequence[T]]) -> None:
        self._read = read

    @cached_property
    def _found(self) -> Sequence[T]:
        return self._read()

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        return self._found[place]

    def __len__(self) -> int:
        return len(self._found)
