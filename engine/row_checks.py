"""What a row that a person wrote may hold that nothing can work with: pure functions over one row.

SQLite stores a text or a blob in a column for numbers, and every database stores numbers that arithmetic then carries
beyond the column. A claim of many rows would fail for all of them, so such a row is refused before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Text, func

from engine.states import PRIORITY_MAX, PRIORITY_MIN

MAX_PARAMETERS_BYTES: Final = 4 * 1024 * 1024
"""Of the parameters of a row, its templates and mappings, and those of its flow: what a claim reads is bounded."""
MOST: Final = {"claims": 2_000_000_000, "attempt": 2_000_000_000, "losses": 2_000_000_000, "aged": 39}
MOST_OF_OTHERS: Final = 2_000_000_000
COUNTS: Final = ("claims", "attempt", "losses", "generation", "iteration", "aged")
KEPT: Final = ("claims", "generation", "iteration", "aged")
"""Those that adoption does not set back."""


def bad_count(row: Mapping[Any, Any], names: Collection[str] = COUNTS) -> str | None:
    """What is wrong with the first of these counts that nothing can work with, and what to do; None if all are good."""
    for name in names:
        value, most = row[name], MOST.get(name, MOST_OF_OTHERS)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            words = f"{name} {value!r:.60} is no whole number of 0 to {most:,}"
            return f"{words}: correct it, then set exec_status to 0"
    return None


def bad_priority(priority: Any) -> str | None:
    """What is wrong with a priority that came in past its constraint; None if it is good."""
    if isinstance(priority, int) and PRIORITY_MIN <= priority <= PRIORITY_MAX:
        return None
    return f"task_priority {priority!r:.60} is outside {PRIORITY_MIN} .. {PRIORITY_MAX}"


def head_of(column: Column[Any]) -> ColumnElement[str]:
    """The text of a column, cut just behind what is too long: a row of 20 MB is refused without being read."""
    return func.substr(column, 1, MAX_PARAMETERS_BYTES + 1, type_=Text()).label(column.name)
