"""Text where a parameter wants structure: JSON for containers, seconds for durations."""

import types
from collections.abc import Collection
from dataclasses import is_dataclass
from datetime import timedelta
from typing import Annotated, Any, Union, get_args, get_origin

import pydantic_core
from pydantic import BaseModel, BeforeValidator


def readable(annotation: Any) -> Any:
    """The annotation, made to read text too; unchanged where pydantic does so anyway or text itself is wanted."""
    kinds = _kinds(annotation)
    if str in kinds:
        return annotation
    if any(map(_holds_json, kinds)):
        return Annotated[annotation, BeforeValidator(_from_json)]
    if timedelta in kinds:
        return Annotated[annotation, BeforeValidator(_from_seconds)]
    return annotation


def _kinds(annotation: Any) -> list[Any]:
    """The plain types an annotation stands for, unions and Annotated taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    return [origin or annotation]


def _holds_json(kind: Any) -> bool:
    if not isinstance(kind, type) or issubclass(kind, str | bytes):
        return False
    return issubclass(kind, Collection | BaseModel) or is_dataclass(kind)


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return pydantic_core.from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"expected JSON, and this is none ({error})") from None


def _from_seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value  # ISO 8601 (PT3S) and 00:00:03 are pydantic's to read
