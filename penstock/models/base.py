"""What every model is: frozen, and open for what a later service says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from engine.states import Status

M = TypeVar("M", bound="Model")


def _status(value: Any) -> Any:
    return Status.__members__.get(value, value) if isinstance(value, str) else value


StatusName = Annotated[Status | str, BeforeValidator(_status)]
"""A member of `Status`; a text only for a number that a person wrote into a row and that is no status."""


class Model(BaseModel):
    """A document of the API; unknown members are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    @classmethod
    def of(cls: type[M], document: Mapping[str, Any]) -> M:
        """Errors: pydantic's ValidationError, for what no service of Penstock says."""
        return cls.model_validate(document)
