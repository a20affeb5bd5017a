"""Validation errors in words for the person who wrote the parameters, without giving away a secret."""

import difflib
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

SHOWN = reprlib.Repr()
SHOWN.maxstring = SHOWN.maxother = 80


def complaints(
    error: ValidationError, schema: Mapping[str, Any], counts: Callable[[Mapping[str, Any]], bool] = lambda found: True
) -> list[str]:
    """One line per wrong parameter: its name, what was expected, what came. `counts`: which errors are told.

    What came is left out where the parameter may hold a secret: a secret type, something built of types defined
    elsewhere in the schema when any of those is secret, or a name nobody knows (`PASWORD`).
    """
    return [_complaint(dict(e), schema) for e in error.errors(include_url=False) if counts(dict(e))]


def _complaint(error: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    properties = schema.get("properties", {})
    name, *inside = error["loc"] or ("parameters",)
    where = ".".join(map(str, [name, *inside]))
    if error["type"] == "missing":
        return f"{where}: required, but not given" + (_kind(properties.get(name, {})) if not inside else "")
    if error["type"] == "extra_forbidden" and not inside:
        return f"{where}: unknown parameter{_hint(str(name), properties)}"
    secret = name not in properties or _secret(properties[name], schema.get("$defs", {}))
    if secret and error["type"] in ("value_error", "assertion_error"):
        return f"{where}: not accepted"  # the program's own words may quote the value
    return f"{where}: {_expectation(error['msg'])}" + ("" if secret else f", got {SHOWN.repr(error['input'])}")


def _expectation(message: str) -> str:
    for prefix, better in (("Input should be ", "expected "), ("Value error, ", ""), ("Assertion failed, ", "")):
        if message.startswith(prefix):
            return better + message.removeprefix(prefix)
    return message


def _kind(described: Mapping[str, Any]) -> str:
    return f" ({described['type']})" if "type" in described else ""


def _hint(name: str, known: Mapping[str, Any]) -> str:
    by_case = {k.upper(): k for k in known}
    close = difflib.get_close_matches(name.upper(), by_case, n=1)
    if close:
        return f", did you mean {by_case[close[0]]}?"
    return f"; this program takes {', '.join(known) or 'none'}"


def _secret(described: Any, definitions: Mapping[str, Any]) -> bool:
    text = str(described)
    return "'writeOnly': True" in text or ("'$ref'" in text and "'writeOnly': True" in str(definitions))
