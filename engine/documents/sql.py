"""A document as SQL: the statements that a person would write to insert its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.documents.rows import rows_of
from engine.documents.shape import Document
from engine.tables import task_definition, task_edge, task_option, workflow


def as_sql(document: Document, *, backslashes: bool = False) -> str:
    """A script that replaces all rows of the workflow. `backslashes`: as the database that it is for reads texts.
    Errors: BadDocument."""
    rows = rows_of(document)
    key = f"WHERE task_id = {_literal(rows.task_id, backslashes)}"
    tables = (task_edge, task_option, task_definition, workflow)
    parts = ["\n".join(f"DELETE FROM {table.name} {key};" for table in tables)]
    of_workflow = [rows.workflow] if any(value is not None for value in rows.workflow.values()) else []
    for table, values in (
        (workflow, of_workflow),
        (task_definition, rows.steps),
        (task_option, rows.options),
        (task_edge, rows.edges),
    ):
        if values:
            parts.append(_insert(table.name, [{"task_id": rows.task_id, **row} for row in values], backslashes))
    return "\n\n".join(parts) + "\n"


def _insert(table: str, rows: Sequence[Mapping[str, Any]], backslashes: bool) -> str:
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    lines = [f"({', '.join(_literal(row[name], backslashes) for name in names)})" for row in rows]
    return f"INSERT INTO {table} ({', '.join(names)})\nVALUES " + ",\n       ".join(lines) + ";"


def _literal(value: Any, backslashes: bool) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        text = value.replace("\\", "\\\\") if backslashes else value
        return "'" + text.replace("'", "''") + "'"
    return repr(value)
