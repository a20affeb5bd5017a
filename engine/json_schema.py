"""Does a value fit a JSON Schema? One door to the library, so that every schema is read in the same way.

References lead nowhere outside the schema: nothing is fetched. Imported by those who need it, when they need it, as the
library takes a tenth of a second to load.
"""

from __future__ import annotations

from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

_NOTHING_OUTSIDE: Final[Registry[Any]] = Registry()
SHOWN: Final = 300
"""Characters of the library's words that are passed on."""


class Unusable(ValueError):
    """The schema cannot be applied; the message says why, to follow its name."""


def check(schema: Any) -> None:
    """Errors: Unusable for a schema that is none."""
    if not isinstance(schema, dict):
        raise Unusable("is no JSON schema: it is no object")
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        at = "/".join(map(str, error.absolute_path)) or "its top"
        raise Unusable(f"is no JSON schema: at {at}: {error.message[:SHOWN]}") from None
    except RecursionError:
        raise Unusable("is nested too deeply") from None


def misfits(value: Any, schema: dict[str, Any]) -> list[ValidationError]:
    """Where a value does not fit a schema that was checked. Errors: Unusable for references that lead nowhere."""
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=_NOTHING_OUTSIDE)
    try:
        return list(validator.iter_errors(value))
    except Unresolvable as unknown:
        raise Unusable(f"refers to {unknown.ref!r}, which is not in it") from None
    except RecursionError:
        raise Unusable("refers to itself without end") from None


def misfit_of(value: Any, schema: Any) -> str | None:
    """Where a value does not fit any schema most of all, and why: a sentence; None if it fits. Nothing fits a schema
    that is none."""
    try:
        check(schema)
        error = best_match(misfits(value, schema))
    except Unusable as why:
        return f"the schema {why}"
    return None if error is None else f"{error.json_path}: {error.message[:SHOWN]}"
