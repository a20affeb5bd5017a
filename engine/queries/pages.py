"""Pages of a list: how long one may be, and cursors that say where the next begins."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from engine.errors import BadRequest

MAX_PAGE: Final = 500


def check_limit(limit: int) -> None:
    """Errors: BadRequest."""
    if isinstance(limit, bool) or not 1 <= limit <= MAX_PAGE:
        raise BadRequest("limit", f"{limit} is outside 1 .. {MAX_PAGE}")


def instant(value: datetime) -> str:
    """RFC 3339, in UTC, with microseconds."""
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")


def cursor_of(at: datetime, last: str) -> str:
    """The cursor of what follows the row `last` of this instant."""
    return f"{instant(at)}~{last}"


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """Errors: BadRequest."""
    at, _, last = cursor.partition("~")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), last
    except (ValueError, OverflowError):
        raise bad_cursor(cursor) from None


def read_number(cursor: str | None) -> int | None:
    """A cursor that is a number; None for the first page. Errors: BadRequest."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise bad_cursor(cursor)
    return int(cursor)


def bad_cursor(cursor: str) -> BadRequest:
    return BadRequest("cursor", f"{json.dumps(cursor[:200])} was not made by this list")
