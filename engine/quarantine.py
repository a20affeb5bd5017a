"""Ready rows that make a claim fail: found one by one, and suspended, so that the rest can be claimed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from engine import row_checks
from engine.adopt import refuse
from engine.candidates import first_ready
from engine.claim import try_alone
from engine.database import Database
from engine.errors import DatabaseUnavailable, OutcomeUnknown
from engine.ids import new_claim_id
from engine.keys import Key
from engine.tables import IS_READY

MAX_LOOKED_AT: Final = 1_000


class _Undone(Exception):
    """Nothing of a trial is kept."""


def refuse_unclaimable(db: Database, queues: Sequence[str]) -> int:
    """Try each of the rows that a claim would see first on its own, and suspend those that fail. Returns how many.

    Errors: DatabaseUnavailable and OutcomeUnknown, which say nothing about the rows.
    """
    with db.read() as conn:
        ready = first_ready(conn, queues, MAX_LOOKED_AT)
    return sum(_refuse(db, key, priority, why) for key, priority in ready if (why := _fault(db, key)) is not None)


def _fault(db: Database, key: Key) -> Exception | None:
    """What goes wrong when this row alone is claimed."""

    def work(conn: Connection) -> None:
        try_alone(conn, key, "nobody", new_claim_id())
        raise _Undone

    try:
        db.transact(work)
    except _Undone:
        return None
    except (DatabaseUnavailable, OutcomeUnknown):
        raise
    except Exception as error:
        return error
    return None


def _refuse(db: Database, key: Key, priority: Any, why: Exception) -> int:
    problem = row_checks.bad_priority(priority) or f"cannot be claimed ({why})"
    words = f"{problem}: correct the row, then set exec_status to 0"
    try:
        return db.transact(lambda conn: refuse(conn, db, {key: words}, IS_READY, priorities={key: priority}))
    except (DatabaseUnavailable, OutcomeUnknown):
        raise
    except Exception:
        return 0
