"""The ready rows that a claim may take, in its order: all, or those that find a place within the limits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Integer, Row, Select, bindparam, func, select

from engine import usual
from engine.database import Database
from engine.keys import KEY_COLUMNS, Key, among, leading_key
from engine.limits.held_back import HeldBack
from engine.limits.room import Room
from engine.tables import CLAIM_ORDER, IS_READY, task_stat

_PROGRAM = func.coalesce(task_stat.c.program, "")
MAX_PAGE = 2_000
"""Candidates read at once while limits hold tasks back."""


@dataclass(frozen=True)
class Offer:
    """Which of the ready tasks of its queues a claimer runs."""

    without: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Queue -> programs whose tasks there are left to others."""
    only: Collection[str] | None = None
    """Programs whose tasks are taken; None for all."""
    exclusive: bool = True
    """Also tasks that may not run twice at once, whatever happens."""

    def conditions(self, queue: str) -> list[ColumnElement[bool]]:
        """What holds for the tasks of this queue that are taken."""
        found = leaving(self.without.get(queue, ()))
        if self.only is not None:
            found.append(_PROGRAM.in_(sorted(self.only)))
        return found if self.exclusive else [*found, _MAY_OVERLAP]


ANYTHING: Final = Offer()
_MAY_OVERLAP: Final = task_stat.c.is_exclusive.is_not(True)


def leaving(programs: Collection[str]) -> list[ColumnElement[bool]]:
    """The condition that leaves tasks of these programs to others."""
    return [_PROGRAM.not_in(sorted(programs))] if programs else []


def first_ready(conn: Connection, queues: Sequence[str], limit: int) -> list[tuple[Key, Any]]:
    """The keys of the ready rows that a claim would see first, each with its priority, and nothing else of them."""
    query = select(*KEY_COLUMNS, task_stat.c.task_priority).where(IS_READY).order_by(*CLAIM_ORDER).limit(limit)
    found: list[tuple[Key, Any]] = []
    for queue in dict.fromkeys(queues):
        rows = conn.execute(query.where(task_stat.c.queue == queue))
        found += [(leading_key(row), row.task_priority) for row in rows]
    return found


def candidates(
    conn: Connection,
    db: Database,
    queue: str,
    limit: int,
    room: Room | None,
    held_back: HeldBack,
    offer: Offer,
) -> list[Row[Any]]:
    """Up to `limit` ready rows of this queue, most urgent first, locked where the database has row locks; only what
    finds a place in `room`, if there are limits."""
    if room is not None:
        return _within(conn, db, queue, room.left(queue, limit), room, held_back, offer)
    passed = held_back.unreachable
    left = sorted(offer.without.get(queue, ()))
    wants = bool(left), offer.only is not None, offer.exclusive
    query = query_of(db.can.row_locks, db.can.skip_locked, db.can.lock_of, *wants)
    bound = {"of_queue": queue, "most": limit + len(passed), "left": left, "only": sorted(offer.only or ())}
    rows = conn.execute(query, bound).all()
    return [row for row in rows if leading_key(row) not in passed][:limit] if passed else list(rows)


@cache
def query_of(
    row_locks: bool, skip_locked: bool, lock_of: bool, leaves: bool, only: bool = False, exclusive: bool = True
) -> Select[Any]:
    """The rows of a claim. Parameters: of_queue, most; left, the programs to leave to others; only, those to take."""
    query = usual.candidates(with_flows=lock_of).where(IS_READY, task_stat.c.queue == bindparam("of_queue"))
    if leaves:
        query = query.where(_PROGRAM.not_in(bindparam("left", expanding=True)))
    if only:
        query = query.where(_PROGRAM.in_(bindparam("only", expanding=True)))
    if not exclusive:
        query = query.where(_MAY_OVERLAP)
    query = query.order_by(*CLAIM_ORDER).limit(bindparam("most", type_=Integer()))
    locked = task_stat if lock_of else None
    return query.with_for_update(skip_locked=skip_locked, of=locked) if row_locks else query


def _locking(db: Database, query: Select[Any]) -> Select[Any]:
    return query.with_for_update(skip_locked=db.can.skip_locked) if db.can.row_locks else query


def _within(
    conn: Connection,
    db: Database,
    queue: str,
    wanted: int,
    room: Room,
    held_back: HeldBack,
    offer: Offer,
) -> list[Row[Any]]:
    """Read candidates page by page, leaving out what counts against a full limit. Each page but the last fills a limit,
    and each is longer than the one before, so that all pages together cost little more than the longest."""
    chosen: dict[Key, Row[Any]] = {}
    passed: set[Key] = set()  # locked by somebody: left to a later claim
    size, more = wanted, True
    while more and len(chosen) < wanted and not held_back.knows(queue, shut := room.shut()):
        asked = size + len(chosen) + len(passed)
        with held_back.looking(queue, shut) as look:
            found = page(conn, queue, [*room.outside(shut), *offer.conditions(queue)], asked)
            look.found_nothing = not found
        taken = _admitted(room, found, chosen.keys() | passed, wanted - len(chosen))
        locked = _lock(conn, db, taken)
        room.give_back(row for key, row in taken.items() if key not in locked)
        passed |= taken.keys() - locked.keys()
        more = len(found) == asked or len(locked) < len(taken)
        chosen |= locked
        size = min(size * 4, MAX_PAGE)
    return list(chosen.values())


def _admitted(room: Room, found: Sequence[Row[Any]], seen: Collection[Key], wanted: int) -> dict[Key, Row[Any]]:
    """The candidates of a page that find a place, up to `wanted`."""
    taken: dict[Key, Row[Any]] = {}
    for row in found:
        if len(taken) == wanted:
            break
        if leading_key(row) not in seen and room.take(row):
            taken[leading_key(row)] = row
    return taken


def page(conn: Connection, queue: str, outside: list[Any], size: int) -> list[Row[Any]]:
    """Candidates in the order of the claim, without locks: most of them may be held back, and stay where they are."""
    task = task_stat.c
    query = select(*KEY_COLUMNS, task.task_id, task.queue, task.limit_key)
    query = query.where(IS_READY, task.queue == queue, *outside)
    return list(conn.execute(query.order_by(*CLAIM_ORDER).limit(size)))


def _lock(conn: Connection, db: Database, keys: Iterable[Key]) -> dict[Key, Row[Any]]:
    """Those of these candidates that are still to be had, locked, in the order of the claim."""
    keys = list(keys)
    if not keys:
        return {}
    counts = task_stat.c.queue, task_stat.c.limit_key  # against which limits
    query = usual.candidates().add_columns(*counts).where(among(keys), IS_READY).order_by(*CLAIM_ORDER)
    return {leading_key(row): row for row in conn.execute(_locking(db, query))}
