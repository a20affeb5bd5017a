"""On which line of a TOML text something stands: found by its headers and keys, without a parser of its own.

It is for messages only, so whatever is written in an unusual way simply has no line, or that of its step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

_STEP: Final = re.compile(r"\s*\[\[\s*[\"']?steps[\"']?\s*\]\]")
_LONG: Final = re.compile(r"\"\"\"|'''")


class Lines:
    """The lines of one text, cut where each step begins."""

    def __init__(self, text: str) -> None:
        self._parts: list[list[tuple[int, str]]] = [[]]
        for number, line in _outside_of_long_texts(text):
            if _STEP.match(line):
                self._parts.append([])
            self._parts[-1].append((number, line))

    def of(self, path: Sequence[str | int], steps: int) -> int | None:
        """The line of this path in a document with so many steps; else that of its step; else none."""
        if path[:1] != ("steps",) or len(path) < 2 or not isinstance(path[1], int):
            return _line_of(self._parts[0], path[0]) if path else None
        if len(self._parts) != steps + 1:  # steps that are written in another way, inline perhaps
            return None
        part = self._parts[path[1] + 1]
        names = [name for name in path[2:] if isinstance(name, str)]
        found = (_line_of(part, name) for name in reversed(names))
        return next((line for line in found if line is not None), part[0][0])


def _line_of(part: Sequence[tuple[int, str]], name: str | int) -> int | None:
    key = rf"[\"']?{re.escape(str(name))}[\"']?"
    wanted = re.compile(rf"\s*(?:\[+[^\]]*\b)?{key}\s*[=.\]]|.*[{{,.]\s*{key}\s*[=.]")
    return next((number for number, line in part if wanted.match(line)), None)


def _outside_of_long_texts(text: str) -> Iterator[tuple[int, str]]:
    inside: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if inside is None:
            yield number, line
        for mark in _LONG.findall(line):
            inside = mark if inside is None else None if mark == inside else inside
