"""The JSON schema that the parameters of a registration must fit (`parameter_schema` of ms_workflow).

References lead into the schema itself only: nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

MOST: Final = 10
"""Problems that one answer names."""


def problems(schema: Mapping[str, Any]) -> Iterator[str]:
    """What makes this no JSON schema."""
    import jsonschema  # only workflows with a schema pay for it

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        yield f"parameter_schema is no JSON schema: at {_place(error)}: {error.message[:300]}"
        return
    except RecursionError:
        yield "parameter_schema is nested too deeply"
        return
    try:
        misfits(schema, {})
    except Unusable as error:
        yield f"parameter_schema {error}"


class Unusable(ValueError):
    """The schema cannot be applied: a reference leads nowhere, or round in a circle."""


def misfits(schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    """What is wrong with these parameters, sorted by place. Errors: Unusable."""
    import jsonschema
    import referencing
    import referencing.exceptions

    validator = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())
    try:
        found = sorted(validator.iter_errors(dict(parameters)), key=lambda error: (_place(error), error.message))
    except referencing.exceptions.Unresolvable as error:
        raise Unusable(f"refers to {error.ref!r}, which is not in it") from None
    except RecursionError:
        raise Unusable("refers to itself without end") from None
    return [f"{_place(error)}: {error.message[:300]}" for error in found[:MOST]]


def _place(error: Any) -> str:
    return "/".join(map(str, error.absolute_path)) or "parameters"
