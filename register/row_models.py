"""Rows as pydantic models, made from the tables, so that the description knows every column."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, create_model
from sqlalchemy import Table

DOCUMENTS: Final = frozenset(
    {"parameters", "result", "details", "payload", "programs", "arguments", "answer", "queues"}
)
"""Columns that are read as JSON, or as a list, before they go out."""


def row_model(name: str, table: Table, leave_out: set[str], **more: Any) -> type[BaseModel]:
    """A row as engine/queries gives it: the table's own columns, then what it adds."""
    fields: dict[str, Any] = {}
    for column in table.c:
        if column.name not in leave_out:
            python = Any if column.name in DOCUMENTS else column.type.python_type
            fields[column.name] = (python | None if column.nullable and python is not Any else python, ...)
    about = str(table.info.get("about", ""))
    return create_model(name, __config__=ConfigDict(extra="forbid"), __doc__=about, **(fields | more))
