"""What an expression says, read from its tokens: variables, functions, macros.

It knows a subset of CEL and refuses the rest (`map`, macros in macros, computed patterns), so that nothing runs whose
cost was not counted here first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.errors import BadExpression
from engine.expression.grammar import CLOSING, LITERALS, Token, bad, tokens_of
from engine.expression.patterns import weight_of

MAX_MACROS: Final = 4
MACROS: Final = frozenset({"all", "exists", "exists_one", "filter"})
GETTERS: Final = ("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "Hours", "Minutes", "Seconds")
FUNCTIONS: Final = frozenset(
    {"has", "size", "int", "double", "string", "timestamp", "duration", "contains", "startsWith", "endsWith", "matches"}
    | {f"get{part}" for part in (*GETTERS, "Milliseconds")}
)


class Path(NamedTuple):
    """A variable and the names behind it: `result.items["a"]` is ("result", ("items", "a"))."""

    root: str
    keys: tuple[str, ...]


@dataclass
class Region:
    """A part of an expression that runs once (all outside of macros), or once for each element (a macro's body)."""

    macro: str | None = None
    variable: str | None = None
    receiver: Path | None = None
    tokens: int = 0
    pluses: int = 0
    patterns: int = 0
    paths: list[Path] = field(default_factory=list)


@dataclass
class Outline:
    """An expression as its tokens show it. The first region is what stands outside of macros."""

    regions: list[Region] = field(default_factory=lambda: [Region()])

    @property
    def paths(self) -> list[Path]:
        return [path for region in self.regions for path in region.paths]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(path.root for path in self.paths)


def outline(text: str) -> Outline:
    """Read the tokens and refuse what is beyond a bound. Errors: BadExpression, with the place."""
    return _Reader(text, tokens_of(text)).read()


class _Reader:
    """One pass over well-formed tokens."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._found = Outline()
        self._inside: Region | None = None
        self._depth = self._macro_depth = 0
        self._path_before: tuple[int, Path] | None = None

    def read(self) -> Outline:
        place = 0
        while place < len(self._tokens):
            place = self._step(place)
        return self._found

    @property
    def _here(self) -> Region:
        return self._inside or self._found.regions[0]

    def _step(self, place: int) -> int:
        token = self._tokens[place]
        self._here.tokens += 1
        if token.kind == "name":
            return self._name(place)
        if token.text in CLOSING:
            self._depth += 1
        elif token.text in CLOSING.values():
            self._close()
        elif token.text == "+":
            self._here.pluses += 1
        return place + 1

    def _close(self) -> None:
        self._depth -= 1
        if self._inside and self._depth < self._macro_depth:
            self._inside = None

    def _name(self, place: int) -> int:
        token, after = self._tokens[place], self._sign(place + 1)
        if after == "(":
            return self._call(place)
        if token.text in LITERALS or token.text == "in" or self._sign(place - 1) == ".":
            return place + 1
        if self._inside and token.text == self._inside.variable:
            return place + 1
        return self._variable(place)

    def _variable(self, place: int) -> int:
        """Follow constant steps (`.name`, `["name"]`) as far as they go."""
        keys: list[str] = []
        end = place + 1
        while step := self._key(end):
            key, width = step
            keys.append(key)
            end += width
        path = Path(self._tokens[place].text, tuple(keys))
        self._here.paths.append(path)
        self._here.tokens += end - place - 1
        self._path_before = end, path
        return end

    def _key(self, place: int) -> tuple[str, int] | None:
        ahead = self._tokens[place : place + 3]
        kinds, texts = [token.kind for token in ahead], [token.text for token in ahead]
        if texts[:1] == ["."] and kinds[1:2] == ["name"] and texts[2:3] != ["("]:
            return texts[1], 2
        if texts[:1] == ["["] and kinds[1:2] == ["quoted"] and texts[2:3] == ["]"] and "\\" not in texts[1]:
            return texts[1][1:-1], 3
        return None

    def _call(self, place: int) -> int:
        token = self._tokens[place]
        method = self._sign(place - 1) == "."
        if token.text == "in":
            return place + 1
        if token.text in MACROS and method:
            return self._macro(place)
        if token.text not in FUNCTIONS or token.text in LITERALS:
            known = ", ".join(sorted(FUNCTIONS | MACROS))
            raise self._bad(token, f"there is no function {token.text!r}; there are {known}")
        if token.text == "matches":
            self._pattern(place, method)
        return place + 1

    def _macro(self, place: int) -> int:
        token = self._tokens[place]
        variable = self._tokens[place + 2] if self._kind(place + 2) == "name" else None
        if variable is None or self._sign(place + 3) != "," or variable.text in LITERALS:
            raise self._bad(token, f"write it as list.{token.text}(x, condition over x)")
        if self._inside:
            raise self._bad(token, f"{self._inside.macro!r} and {token.text!r} are nested: use one inside of no other")
        if len(self._found.regions) > MAX_MACROS:
            raise self._bad(token, f"there are more than {MAX_MACROS} of {', '.join(sorted(MACROS))}")
        before = self._path_before
        receiver = before[1] if before and before[0] == place - 1 else None
        self._inside = Region(token.text, variable.text, receiver)
        self._found.regions.append(self._inside)
        self._depth += 1
        self._macro_depth = self._depth
        return place + 4

    def _pattern(self, place: int, method: bool) -> None:
        token, pattern = self._tokens[place], self._tokens[place + 2 : place + 3]
        if not method or self._kind(place + 2) not in ("quoted", "raw") or self._sign(place + 3) != ")":
            raise self._bad(token, "write it as text.matches('pattern'), with the pattern as a text of its own")
        try:
            self._here.patterns += weight_of(pattern[0].text)
        except ValueError as error:
            raise self._bad(token, str(error)) from None

    def _sign(self, place: int) -> str:
        return self._tokens[place].text if 0 <= place < len(self._tokens) else ""

    def _kind(self, place: int) -> str:
        return self._tokens[place].kind if place < len(self._tokens) else ""

    def _bad(self, token: Token, why: str) -> BadExpression:
        return bad(self._text, token, why)
