"""Types of arguments that JSON writes in more than one way."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, StrictFloat, StrictInt

from engine.states import PRIORITY_MAX, PRIORITY_MIN


def whole(value: Any) -> Any:
    """JSON does not tell 4.0 from 4."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE: Final = BeforeValidator(whole)
"""Goes behind the bounds of a number, which the description would not show otherwise."""
Whole = Annotated[StrictInt, WHOLE]
"""A whole number; no text, and no boolean."""
Seq = Annotated[StrictInt, Field(ge=1, le=2**63 - 1), WHOLE]
Priority = Annotated[StrictInt, Field(ge=PRIORITY_MIN, le=PRIORITY_MAX), WHOLE]
Seconds = Annotated[StrictFloat, Field(gt=0, le=1e9)]
