"""Which parameters of a definition are templates: told by their marks when a flow is registered, and never again.

What a registration or a program gives is data, whatever it looks like; so this is asked of definitions alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MARKS: Final = ("{{", "{%")


def templates_in(parameters: Mapping[str, Any]) -> list[str]:
    """The names of the parameters in which some text, however deep, contains `{{` or `{%`; in their order."""
    return [name for name, value in parameters.items() if _marked(value)]


def _marked(value: Any) -> bool:
    open_values = [value]
    while open_values:
        item = open_values.pop()
        if isinstance(item, str):
            if any(mark in item for mark in MARKS):
                return True
        elif isinstance(item, Mapping):
            open_values += item.values()
        elif isinstance(item, list | tuple):
            open_values += item
    return False
