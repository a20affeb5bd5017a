"""How much work an expression can be over given data: an upper bound, found before the native evaluator begins.

The evaluator cannot be stopped and holds the whole process, so what may take long is refused. Units are steps of some
50 ns, measured: a token, or a value copied. Chained lists are copied with every `+`; `filter` copies what it has kept
with every element; a pattern is compiled with every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.errors import BadExpression
from engine.expression.tokens import Outline, Path, Region

MAX_STEPS: Final = 20_000_000
MAX_DATA_DEPTH: Final = 128
CHARS_PER_STEP: Final = 8
CONVERSION: Final = 12
"""A value is converted on its way in, and may be part of what comes out."""
COMPILATION: Final = 300
"""Of a pattern, per unit of its weight."""
KEEPING: Final = 3


class Sizes:
    """The sizes of values at paths, each measured once."""

    def __init__(self, text: str, scope: Mapping[str, Any]) -> None:
        self._text = text
        self._scope = scope
        self._known: dict[Path, int] = {}

    def value(self, path: Path) -> Any:
        value = self._scope.get(path.root)
        for key in path.keys:
            if not isinstance(value, Mapping):
                return value
            if key not in value:
                return None
            value = value[key]
        return value

    def of(self, path: Path) -> int:
        if path not in self._known:
            self._known[path] = size_of(self._text, self.value(path))
        return self._known[path]

    def sum(self, region: Region) -> int:
        return sum(self.of(path) for path in region.paths)


def refuse_costly(text: str, outline: Outline, scope: Mapping[str, Any]) -> None:
    """Errors: BadExpression if the expression may take longer than MAX_STEPS over this data."""
    sizes = Sizes(text, scope)
    outside, *macros = outline.regions
    flowing = sizes.sum(outside) * (1 + outside.pluses)
    steps = outside.tokens + flowing * (CONVERSION + outside.patterns) + COMPILATION * outside.patterns
    for macro in macros:
        steps += _of_macro(macro, sizes, outside.tokens + flowing)
    if steps > MAX_STEPS:
        raise BadExpression(
            text,
            f"may take {steps:,} steps over this data, at most {MAX_STEPS:,} are allowed: name the part it is about",
        )


def _of_macro(macro: Region, sizes: Sizes, flowing: int) -> int:
    count = size = flowing  # what a computed list can hold at most
    if macro.receiver is not None:
        value, size = sizes.value(macro.receiver), sizes.of(macro.receiver)
        count = len(value) if isinstance(value, list | Mapping) else 0
    factor = (1 + macro.pluses) * (1 + macro.patterns)
    each = macro.tokens + sizes.sum(macro) * factor + COMPILATION * macro.patterns
    kept = KEEPING * count * size if macro.macro == "filter" else 0
    return count * each + size * macro.tokens * factor + kept


def size_of(text: str, value: Any) -> int:
    """How much a JSON value is, in steps; reading stops where it is too much anyway. Errors: BadExpression."""
    size = 0
    level = [value]
    for _ in range(MAX_DATA_DEPTH):
        below: list[Any] = []
        for item in level:
            size += 1
            if isinstance(item, str):
                size += len(item) // CHARS_PER_STEP
            elif isinstance(item, dict | Mapping):
                size += len(item) + sum(map(len, item)) // CHARS_PER_STEP
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif item is not None and not isinstance(item, int | float):
                raise BadExpression(text, f"is given a {type(item).__name__}, which is not JSON")
        if not below or size > MAX_STEPS:
            return size
        level = below
    raise BadExpression(text, f"is given data nested more than {MAX_DATA_DEPTH} deep")
