"""The JSON schema that the parameters of a registration must fit (`parameter_schema` of ms_workflow)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.errors import BadDefinition

MOST: Final = 10
"""Problems that one answer names."""


def problems(schema: Mapping[str, Any]) -> Iterator[str]:
    """What makes this no JSON schema."""
    from engine import json_schema  # only workflows with a schema pay for it

    try:
        json_schema.check(schema)
        json_schema.misfits({}, dict(schema))
    except json_schema.Unusable as error:
        yield f"parameter_schema {error}"


def misfits(task_id: str, schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    """What is wrong with these parameters, sorted by place. Errors: BadDefinition for a schema that cannot be used."""
    from engine import json_schema

    try:
        errors = json_schema.misfits(dict(parameters), dict(schema))
    except json_schema.Unusable as error:
        raise BadDefinition(task_id, f"ms_workflow: parameter_schema {error}") from error
    found = sorted((_place(error), error.message[: json_schema.SHOWN]) for error in errors)
    return [f"{place}: {words}" for place, words in found[:MOST]]


def _place(error: Any) -> str:
    return "/".join(map(str, error.absolute_path)) or "parameters"
