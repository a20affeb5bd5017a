"""Does a value fit a JSON Schema? One door to the library, so that every schema is read in the same way.

References lead nowhere outside the schema: nothing is fetched. Imported by those who need it, when they need it, as the
library takes a tenth of a second to load.
"""

from __future__ import annotations

from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

_NOTHING_OUTSIDE: Final[Registry[Any]] = Registry()
_SHOWN: Final = 300


def flaw_of(schema: Any) -> str | None:
    """What is wrong with a schema: a sentence; None if it can be used."""
    if not isinstance(schema, dict):
        return "is no JSON Schema: it is no object"
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"is no JSON Schema: at {error.json_path}: {error.message[:_SHOWN]}"
    except RecursionError:
        return "is no JSON Schema: it is nested too deeply"
    return None


def misfit_of(value: Any, schema: Any) -> str | None:
    """Where a value does not fit a schema, and why: a sentence; None if it fits. Nothing fits a schema that is none."""
    if flaw := flaw_of(schema):
        return f"the schema {flaw}"
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=_NOTHING_OUTSIDE)
    try:
        error = best_match(validator.iter_errors(value))
    except Unresolvable as unknown:
        return f"the schema refers to {unknown.ref!r}, which it does not hold"
    except RecursionError:
        return "the schema refers to itself without end"
    return None if error is None else f"{error.json_path}: {error.message[:_SHOWN]}"
