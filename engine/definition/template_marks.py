"""Which parameters of a definition are templates: told by their marks when a flow is registered, and never again.

What a registration or a program gives is data, whatever it looks like; so this is asked of definitions alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from engine.definition.secret_references import has_references

MARKS: Final = ("{{", "{%")


def templates_in(parameters: Mapping[str, Any]) -> list[str]:
    """The names of the parameters in which some text, however deep, contains `{{` or `{%`, or that refer to a secret:
    what is worked out when the task runs; in their order."""
    return [name for name, value in parameters.items() if any(map(is_marked, texts_in(value))) or has_references(value)]


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a value of a parameter, however deep."""
    open_values = [value]
    while open_values:
        item = open_values.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            open_values += item.values()
        elif isinstance(item, list | tuple):
            open_values += item


def is_marked(text: str, marks: Sequence[str] = MARKS) -> bool:
    return any(mark in text for mark in marks)
