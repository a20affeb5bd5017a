"""References to secrets: `{"$secret": "env:NAME"}` as a value in the parameters of a definition.

Rows hold the reference and never the secret: whoever runs the program looks it up. What a registration, a program or a
template gives is data, whatever it looks like, and no reference: else an operator could ask for any secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

KEY: Final = "$secret"
_SHAPE: Final = re.compile(r"[a-z][a-z0-9_-]{0,30}:.{1,500}")
_TEMPLATE: Final = ("{{", "{%")


def is_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and KEY in value


def references_in(value: Any) -> Iterator[Any]:
    """What each reference in a value of a parameter names, however deep; any JSON value, as people write them."""
    open_values = [value]
    while open_values:
        item = open_values.pop()
        if is_reference(item):
            yield item[KEY]
        elif isinstance(item, Mapping):
            open_values += item.values()
        elif isinstance(item, list | tuple):
            open_values += item


def has_references(value: Any) -> bool:
    return next(references_in(value), references_in) is not references_in


def problem_of(named: Any) -> str | None:
    """What is wrong with what a reference names, before anybody looks it up."""
    if not isinstance(named, str) or _SHAPE.fullmatch(named) is None:
        return f"{str(named)[:80]!r} names no secret: write env:NAME, file:NAME, or what a plugin knows"
    if any(mark in named for mark in _TEMPLATE):
        return f"{named[:80]!r}: the name of a secret is no template"
    return None


def replaced(raw: Any, value: Any, look_up: Callable[[str], str]) -> Any:
    """`value`, which was made of `raw` by rendering its templates, with the secrets in the places of the references
    that `raw` has: a template that renders to what looks like one has no say. Errors: of `look_up`."""
    if is_reference(raw):
        return look_up(raw[KEY])
    if isinstance(raw, Mapping) and isinstance(value, Mapping):
        return {name: replaced(raw.get(name), item, look_up) for name, item in value.items()}
    if isinstance(raw, list) and isinstance(value, list) and len(raw) == len(value):
        return [replaced(one, item, look_up) for one, item in zip(raw, value, strict=True)]
    return value
