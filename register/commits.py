"""Many registrations, as few commits as possible, and for each of them the truth about what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from engine.database import Database, DuplicateKey
from engine.definition.reading import Check
from engine.errors import DatabaseUnavailable, OutcomeUnknown
from engine.failpoints import hit
from engine.flows import Registered, Registration, find_registered, register
from engine.outages import OUTAGES

Outcome = Registered | Exception
"""What became of one registration; an error is a value here, because it belongs to one request of many."""

MAX_LOST = 3
"""Commits in a row whose answer was lost, before the requests are told that nobody knows."""
READ_BACK_PAUSES_S = (0.0, 0.1, 0.5, 1.0, 2.0)

log = logging.getLogger("penstock.register")


def commit_all(
    db: Database, wishes: Sequence[Registration], *, check: Check | None = None, lost: int = 0
) -> Mapping[str, Outcome]:
    """Register all wishes in one transaction; if one of them spoils it, in as many as it takes to leave that one out.

    Shape: flow id of the wish -> its outcome, for every wish. Never raises what the database or a definition causes.
    """
    if not wishes:
        return {}
    try:
        hit("register.before_transaction")
        answers = db.transact(lambda conn: register(conn, db, wishes, check), repeated=True)
        hit("register.after_commit")
        return answers
    except OutcomeUnknown as error:
        return _after_lost_answer(db, wishes, error, check, lost + 1)
    except DatabaseUnavailable as error:
        return dict.fromkeys(_ids(wishes), error)
    except Exception as error:  # a refused value, or rows written by hand that no code expected
        if len(wishes) == 1:
            return {wishes[0].flow_id: _last_word(db, wishes[0], error)}
        half = len(wishes) // 2
        halves = wishes[:half], wishes[half:]
        return {key: told for part in halves for key, told in commit_all(db, part, check=check, lost=lost).items()}


def _after_lost_answer(
    db: Database, wishes: Sequence[Registration], error: OutcomeUnknown, check: Check | None, lost: int
) -> Mapping[str, Outcome]:
    """Look which flows are there, and try the others again with the ids they have, so that none can exist twice."""
    if (left_out := OUTAGES.may_say("commit")) is not None:
        facts = {"registrations": len(wishes), "left_out": left_out}
        log.warning("the answer to a commit was lost: reading back", extra=facts)
    there = _read_back(db, wishes)
    if there is None:
        return dict.fromkeys(_ids(wishes), error)
    missing = [wish for wish in wishes if wish.flow_id not in there]
    if lost >= MAX_LOST:
        return {**there, **dict.fromkeys(_ids(missing), error)}
    return {**there, **commit_all(db, missing, check=check, lost=lost)}


def _last_word(db: Database, wish: Registration, error: Exception) -> Outcome:
    """A taken flow id is this wish's own: its commit arrived after all, later than the look for it."""
    if isinstance(error, DuplicateKey):
        return (_read_back(db, [wish]) or {}).get(wish.flow_id, error)
    return error


def _read_back(db: Database, wishes: Sequence[Registration]) -> dict[str, Outcome] | None:
    """The wishes that exist; None when the database cannot be asked."""
    hit("register.read_back")
    for pause in READ_BACK_PAUSES_S:
        time.sleep(pause)
        try:
            with db.read() as conn:
                return dict(find_registered(conn, wishes))
        except DatabaseUnavailable:
            continue
    return None


def _ids(wishes: Sequence[Registration]) -> list[str]:
    return [wish.flow_id for wish in wishes]
