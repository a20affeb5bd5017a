"""How a watcher comes to its database: waits until it is up, sees that it fits, and takes its first lease."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import structlog

from engine.database import Database, wait_until_up
from engine.errors import PenstockError
from engine.outages import AWAY, OUTAGES
from engine.schema import verify

log = structlog.get_logger("penstock.watcher")


class _NotStarted(Exception):
    """Stopped while it waited for the database."""


def enter(db: Database, wait_s: float, begin: Callable[[], None], is_stopped: Callable[[], bool]) -> bool:
    """Wait for the database, verify it, and `begin`: all anew if the database goes away meanwhile.

    Returns False if the watcher was stopped while it waited. Errors: those of a database that cannot be used, or that
    did not come up within `wait_s` seconds.
    """

    def waiting(words: str) -> None:
        if (left_out := OUTAGES.may_say(AWAY)) is not None:
            log.info("waiting for the database", error=words, left_out=left_out)
        if is_stopped():
            raise _NotStarted

    def work() -> None:
        verify(db)
        db.probe()
        begin()

    try:
        wait_until_up(db, wait_s, on_wait=waiting, then=work)
    except _NotStarted:
        return False
    _warn(db)
    return True


def _warn(db: Database) -> None:
    with suppress(PenstockError), db.read() as conn:
        for item in db.dialect.warnings(conn):
            if item.at_start:
                log.warning("the database is not set up well", found=item.words, remedy=item.remedy)
