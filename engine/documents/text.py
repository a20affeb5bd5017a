"""Documents as text: read with everything that is wrong with them, and written."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import tomlkit
import tomlkit.items
from pydantic import BaseModel, ValidationError

from engine import jsontext
from engine.documents.lines import Lines
from engine.documents.shape import After, Document, Phase, Retry, Step
from engine.errors import BadDocument, Problem

TOML, JSON, SQL = "toml", "json", "sql"
MAX_BYTES: Final = 4 * 1024 * 1024
_PARTS: Final[Mapping[str, type[BaseModel]]] = {
    "retry": Retry,
    "pre": Phase,
    "post": Phase,
    "rollback": Phase,
    "after": After,
    "steps": Step,
}
_TAGS: Final = frozenset({"name", "seq", "edge"})
_OBJECTS: Final = frozenset({"parameters", "parameter_schema", "input_mapping", "output_mapping", "result_mapping"})
_WIDE: Final = 100
MOST: Final = 50
"""Problems that one answer names."""


def read(text: str, form: str) -> Document:
    """The document that a text says; `form` is toml or json. Errors: BadDocument, with everything that is wrong."""
    return check(parse(text, form), Lines(text) if form == TOML else None)


def parse(text: str, form: str) -> Any:
    """What a text says, whatever it is. Errors: BadDocument."""
    if len(text) > MAX_BYTES:
        raise BadDocument(None, [Problem("", None, f"is longer than {MAX_BYTES:,} characters")])
    try:
        return tomllib.loads(text) if form == TOML else jsontext.loads(text)
    except RecursionError:
        raise BadDocument(None, [Problem("", None, "is nested too deeply")]) from None
    except ValueError as error:  # tomllib's, and jsontext's
        found = re.search(r"line (\d+)", str(error))
        words = str(error) if form == JSON else f"is not TOML: {error}"
        raise BadDocument(None, [Problem("", int(found[1]) if found else None, words)]) from None


def check(value: Any, lines: Lines | None = None) -> Document:
    """The document that a value is. Errors: BadDocument."""
    task_id = value.get("task_id") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        raise BadDocument(None, [Problem("", None, "is no table (object) with task_id and steps")])
    steps = value.get("steps")
    size = len(steps) if isinstance(steps, list) else 0
    try:
        return Document.model_validate(value)
    except ValidationError as error:
        found = [_problem(item, lines, size) for item in error.errors(include_url=False, include_context=False)[:MOST]]
        raise BadDocument(task_id if isinstance(task_id, str) else None, found) from error
    except RecursionError:
        raise BadDocument(None, [Problem("", None, "is nested too deeply")]) from None


def as_toml(document: Document) -> str:
    """The document as a person would write it."""
    said = document.as_json()
    steps = said.pop("steps")
    whole = _append(tomlkit.document(), said)
    every = tomlkit.aot()
    for step in steps:
        every.append(_append(tomlkit.table(), step))
    whole.append("steps", every)
    return str(whole.as_string())


def as_json(document: Document) -> str:
    return json.dumps(document.as_json(), ensure_ascii=False, indent=2) + "\n"


def _append(table: Any, values: Mapping[str, Any]) -> Any:
    """Plain values first, and behind them as tables of their own what would make a line too long."""
    wide = {name: value for name, value in values.items() if isinstance(value, dict) and _is_wide(name, value)}
    for name, value in values.items():
        if name not in wide:
            table.append(name, _item(name, value))
    for name, value in wide.items():
        table.append(name, _append(tomlkit.table(), value))
    return table


def _is_wide(name: str, value: Mapping[str, Any]) -> bool:
    return bool(value) and not _has_null(value) and len(name) + len(json.dumps(value)) > _WIDE


def _item(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        if name in _OBJECTS and _has_null(value):  # TOML has none: the object is given as JSON
            text = jsontext.dumps(value)
            return tomlkit.string(text, literal=text.isprintable() and "'" not in text)
        inline = tomlkit.inline_table()
        for inner_name, inner in value.items():
            inline.append(inner_name, _item(inner_name, inner))
        return inline
    if isinstance(value, list):
        array = tomlkit.array()
        for inner in value:
            array.append(_item("", inner))
        return array.multiline(len(value) > 1 and len(json.dumps(value)) > _WIDE)
    if isinstance(value, str) and "\n" in value and _is_plain(value):
        return tomlkit.string(value, multiline=True)
    return tomlkit.item(value)


def _is_plain(text: str) -> bool:
    """Can it stand between three quotation marks as it is?"""
    return (
        not text.startswith("\n")
        and '"""' not in text
        and "\\" not in text
        and "\r" not in text
        and (text.replace("\n", "").isprintable() and not text.endswith('"'))
    )


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


def _problem(item: Mapping[str, Any], lines: Lines | None, steps: int) -> Problem:
    path = _path(item["loc"])
    line = lines.of(tuple(path), steps) if lines is not None else None
    return Problem(path_of(path), line, _words(item, path))


def _path(loc: Sequence[str | int]) -> list[str | int]:
    """Where it is, without pydantic's own words for which of several shapes was meant."""
    return [part for place, part in enumerate(loc) if part not in _TAGS or not _is_choice(loc[:place])]


def _is_choice(before: Sequence[str | int]) -> bool:
    return before[-1:] == ("step",) or (len(before) > 1 and before[-2] == "after")


def path_of(path: Sequence[str | int]) -> str:
    """As in steps[2].retry.delay_s; steps are counted from 0."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _words(item: Mapping[str, Any], path: Sequence[str | int]) -> str:
    if item["type"] == "extra_forbidden":
        return f"is no name that is known here{_nearest(str(path[-1]), _names_at(path[:-1]))}"
    if item["type"] == "missing":
        return "is missing"
    words = str(item["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    return words[:1].lower() + words[1:]


def _names_at(path: Sequence[str | int]) -> list[str]:
    words = [part for part in path if isinstance(part, str)]
    return list(_PARTS.get(words[-1], Document).model_fields) if words else list(Document.model_fields)


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f": did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
