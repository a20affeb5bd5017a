"""JSON columns: one reader and one writer, so that all databases hold the same documents and refuse the same."""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import cache
from typing import Any, Final, NoReturn

MAX_RESULT_BYTES: Final = 1024 * 1024
"""A larger result belongs into a file or a table, and its name into the result."""


class NotJSON(ValueError):
    """The text or the value is no JSON document; the message says where."""


def loads(text: str | None) -> Any:
    """Read a document. Errors: NotJSON for broken text, NaN, repeated keys, absurd depth or length of numbers."""
    if text is None:
        raise NotJSON("is NULL")
    try:
        return _decoder().decode(text)
    except RecursionError:
        raise NotJSON("is nested too deeply") from None
    except NotJSON:
        raise
    except (ValueError, TypeError) as error:
        raise NotJSON(f"is not JSON: {error}") from None


def loads_object(text: str | None, *, max_bytes: int | None = None) -> dict[str, Any]:
    """Read a document that must be an object, as `parameters` must. Errors: as `loads`, and NotJSON for one that is
    longer than `max_bytes` in UTF-8."""
    if text == "{}":
        return {}
    if text is not None and max_bytes is not None and _is_longer(text, max_bytes):
        raise NotJSON(f"is more than the {max_bytes:,} bytes of JSON that a row may carry")
    return as_object(loads(text))


def as_object(value: Any) -> dict[str, Any]:
    """A document that must be an object. Errors: NotJSON."""
    if not isinstance(value, dict):
        raise NotJSON(f"is a JSON {_kind(value)}, not an object")
    return value


def dumps(value: Any, *, max_bytes: int | None = None) -> str:
    """Write a document. Errors: NotJSON for values that are not JSON, or longer than `max_bytes` in UTF-8."""
    try:
        text = _ENCODER.encode(value)
        size = len(text.encode())
    except RecursionError:
        raise NotJSON("is nested too deeply, or contains itself") from None
    except (ValueError, TypeError) as error:
        raise NotJSON(f"is not JSON: {error}") from None
    if max_bytes is not None and size > max_bytes:
        raise NotJSON(f"is {size:,} bytes of JSON, more than the {max_bytes:,} that a row may carry")
    return text


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_repeats)


def clean_text(text: str, max_chars: int = 65_536) -> str:
    """Text that every database stores: no NUL, no lone surrogates, and the middle cut out of an overlong one."""
    text = text.replace("\x00", "\u2400").encode("utf-8", "replace").decode()
    if len(text) <= max_chars:
        return text
    half = max_chars // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"


def _is_longer(text: str, max_bytes: int) -> bool:
    return len(text) > max_bytes or (4 * len(text) > max_bytes and len(text.encode("utf-8", "replace")) > max_bytes)


def _no_constant(name: str) -> NoReturn:
    raise NotJSON(f"is not JSON: {name} is no JSON number")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise NotJSON(f"has the key {repeated!r} twice")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise NotJSON("holds a number beyond the range of a double")
    return value


def _kind(value: Any) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")
