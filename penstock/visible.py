"""Texts of others on a terminal: what would move its cursor, change its title or turn letters round is shown, and so
are bytes that are no UTF-8, which no terminal takes."""

from __future__ import annotations

import json
import re
from typing import Any, Final

_COLOUR: Final = r"\x1b\[[0-9;]{0,30}m"
_HIDDEN: Final = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)"
)
_HIDDEN_BUT_COLOURS: Final = re.compile(rf"({_COLOUR})|{_HIDDEN.pattern}")
_AS_IT_WAS: Final = "\x1b[0m"


def visible(text: str) -> str:
    """The text with control characters, and those that change the direction of writing, as escapes."""
    return _HIDDEN.sub(_escape, text)


def visible_log(text: str) -> str:
    """The same of a log, in which programs may use colours; they end with it."""
    shown = _HIDDEN_BUT_COLOURS.sub(lambda found: found[1] or _escape(found), text)
    return shown + _AS_IT_WAS if "\x1b" in shown else shown


def visible_line(text: str) -> str:
    """The same where a line must stay one."""
    return visible(text).replace("\r", "\\r").replace("\n", "\\n")


def visible_json(value: Any, **options: Any) -> str:
    """A document that says the same to programs, with those characters as JSON's escapes."""
    text = json.dumps(value, ensure_ascii=False, **options)
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
