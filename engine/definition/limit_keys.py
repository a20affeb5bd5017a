"""The key that a task counts against a limit by: a text with `{params.NAME}` in it, filled when the flow is registered.

Only whole parameters may stand there: no attributes, no items, no formats, so that a definition reaches nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from string import Formatter
from typing import Any, Final

from engine import jsontext
from engine.errors import BadRequest

MAX_KEY: Final = 256
_PREFIX: Final = "params."


def problems(template: str) -> Iterator[str]:
    """What is wrong with a limit_key, whatever the parameters."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        yield f"limit_key {template!r}: {error}"
        return
    for _, field, form, conversion in parts:
        if field is None:
            continue
        name = field.removeprefix(_PREFIX)
        if name == field or not name or form or conversion or any(sign in name for sign in ".[]{}"):
            shown = field + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            yield f"limit_key {template!r}: {{{shown}}} is not {{params.NAME}}, which is all that may stand there"


def fill(template: str, parameters: Mapping[str, Any], unknown: Collection[str] = ()) -> str:
    """The key with the parameters in it. `unknown`: parameters that are worked out only when the task begins.

    Errors: BadRequest for a parameter that is missing, is neither text nor number, or makes the key too long.
    """
    return "".join(
        literal + ("" if field is None else _text(field.removeprefix(_PREFIX), template, parameters, unknown))
        for literal, field, _, _ in Formatter().parse(template)
    )


def checked(key: str, template: str) -> str:
    """The key, if a row can carry it. Errors: BadRequest."""
    if not 1 <= len(key) <= MAX_KEY or "\x00" in key or jsontext.clean_text(key) != key:
        raise BadRequest("parameters", f"limit_key {template!r} becomes {key[:80]!r}, which no row can carry")
    return key


def _text(name: str, template: str, parameters: Mapping[str, Any], unknown: Collection[str]) -> str:
    if name not in parameters:
        raise BadRequest("parameters", f"{name!r} is not given, and limit_key {template!r} needs it")
    if name in unknown:
        raise BadRequest("parameters", f"{name!r} is worked out later, and limit_key {template!r} needs it now")
    value = parameters[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRequest("parameters", f"{name!r} is neither text nor number, as limit_key {template!r} needs")
    return str(value)
