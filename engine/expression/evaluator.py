"""Expressions of edges and mappings: CEL, within bounds, over JSON data.

Nothing here can loop, reach outside of the data that it is given, or take the process with it: what an expression may
say is bounded before it is compiled (expression_tokens.py), and what it may cost before it runs (expression_cost.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine.errors import BadExpression
from engine.expression.cost import refuse_costly
from engine.expression.tokens import Outline, Path, outline

if TYPE_CHECKING:
    import cel

Picks = dict[str, Any]
"""Which parts of the data an expression reads: name -> picks below it; an empty one means all that is there."""
_SYNTAX: Final = re.compile(r"ERROR: <input>:1:(\d+): (?:Syntax error: )?([^\n]*)")
_UNDEFINED: Final = re.compile(r"Undefined variable or function: '(\w+)'")


class Compiled(NamedTuple):
    program: cel.Program
    outline: Outline
    picks: Picks


def names_in(text: str) -> frozenset[str]:
    """The variables that an expression uses, without those that its macros bind. Errors: BadExpression."""
    return _compiled(text).outline.names


def check(text: str, known: Collection[str]) -> None:
    """Errors: BadExpression for syntax, for what is beyond the bounds, and for variables that are not `known`."""
    unknown = sorted(names_in(text) - set(known))
    if not unknown:
        return
    near = get_close_matches(unknown[0], known, 1, 0.6)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    there_are = f"there are {', '.join(known)}" if known else "there are no variables here"
    raise BadExpression(text, f"does not know the variable {unknown[0]!r}{hint}; {there_are}")


def evaluate(text: str, scope: Mapping[str, Any]) -> Any:
    """What the expression says of this JSON data, as JSON data: instants as ISO text, durations in seconds.

    Whole numbers beyond 64 bits are read as doubles. Errors: BadExpression, also for a missing key, a division by
    zero, values that do not go together, and for more work than one expression may be.
    """
    compiled = _compiled(text)
    check(text, tuple(scope))
    refuse_costly(text, compiled.outline, scope)
    try:
        value = compiled.program.execute(_picked(scope, compiled.picks))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the native library is a BaseException
        raise BadExpression(text, _words(error)) from None
    return _json(text, value)


def truth(text: str, scope: Mapping[str, Any]) -> bool:
    """A condition. Errors: as `evaluate`, and BadExpression for a result that is neither true nor false."""
    value = evaluate(text, scope)
    if not isinstance(value, bool):
        raise BadExpression(text, f"is a condition and must be true or false, but it is {_kind(value)}")
    return value


@lru_cache(maxsize=2048)
def _compiled(text: str) -> Compiled:
    import cel  # it brings a command line with it, which takes a sixth of a second that most processes can do without

    found = outline(text)
    try:
        program = cel.compile(text)
        used = set(program.variables())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise BadExpression(text, _words(error)) from None
    if missed := used - found.names - {region.variable for region in found.regions}:
        raise BadExpression(text, f"uses {min(missed)!r} in a way that is not understood")
    return Compiled(program, found, _picks(found.paths))


def _picks(paths: list[Path]) -> Picks:
    picks: Picks = {}
    for path in sorted(set(paths), key=lambda path: -len(path.keys)):  # the shorter path wants more, so it comes later
        here = picks
        for name in (path.root, *path.keys[:-1]) if path.keys else ():
            here = here.setdefault(name, {})
        here[path.keys[-1] if path.keys else path.root] = {}
    return picks


def _picked(value: Mapping[str, Any], picks: Picks) -> dict[str, Any]:
    """Only the parts that are read: a condition on one field does not convert a megabyte around it."""
    return {name: _part(value[name], below) for name, below in picks.items() if name in value}


def _part(value: Any, picks: Picks) -> Any:
    if isinstance(value, Mapping):
        return _picked(value, picks) if picks else dict(value)
    return value


def _json(text: str, value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case list():
            return [_json(text, item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: _json(text, item) for key, item in value.items()}
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    raise BadExpression(text, f"gives {_kind(value)}, which is not JSON")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", int: "a number", type(None): "null", bytes: "bytes"}
    if isinstance(value, float):
        return "a number" if math.isfinite(value) else "no finite number"
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return "an object with keys that are no text"
    return kinds.get(type(value), f"a {type(value).__name__}")


def _words(error: BaseException) -> str:
    """The library's words, made to say what to do."""
    words = str(error).strip()
    match error:
        case KeyError():
            name = error.args[0] if error.args else "?"
            return f"finds no {name!r} in its data; guard it with has(...)"
        case ZeroDivisionError():
            return "divides by zero"
        case RuntimeError() if found := _UNDEFINED.search(words):
            return f"uses {found[1]!r} on a value that it is not for"
        case TypeError():
            hint = (
                "null and texts are no numbers, and whole numbers and fractions combine only as double(a) + double(b)"
            )
            return f"combines values that do not go together: {words.split('.')[0]} ({hint})"
        case ValueError() if found := _SYNTAX.search(words):
            return f"cannot be read at character {found[1]}: {found[2]}"
    return f"fails: {' '.join(words.split())[:500] or type(error).__name__}"
