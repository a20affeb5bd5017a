"""Ready rows -> RUNNING under a watcher's lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from engine import flow_counts, leases, row_checks, usual
from engine.adopt import refuse
from engine.candidates import ANYTHING, Offer, candidates, page
from engine.claimed import ClaimedTask, claimed_task, details
from engine.database import Database
from engine.dialects.types import Id
from engine.failpoints import hit
from engine.keys import KEY_COLUMNS, Key, among, chunks, keyed, leading_key
from engine.limits.held_back import HeldBack
from engine.limits.room import Limits, Room
from engine.states import Status
from engine.tables import IS_READY, IS_READY_BY_KEY, task_stat
from engine.transitions import Move

NO_LIMITS = Limits()


def claim_ready(
    conn: Connection,
    db: Database,
    watcher_id: str,
    claim_id: str,
    limit: int,
    *,
    queues: Sequence[str] = ("default",),
    limits: Limits = NO_LIMITS,
    held_back: HeldBack | None = None,
    offer: Offer = ANYTHING,
) -> list[ClaimedTask]:
    """Take up to `limit` ready task instances for one watcher, all under one new claim id.

    Shape: list of ClaimedTask, most urgent first, maybe empty. Several queues are asked in the order given. What
    does not belong to the `offer` is left to others.
    `held_back` is told what the limits held back, and when to ask again.
    Errors: none for a lost race, the row is simply absent. Source: Flower's GetExecutableTask, with leases.
    """
    held_back = held_back or HeldBack()
    held_back.forget()
    room = _room(conn, db, limits)
    rows = _selected(conn, db, queues, limit, room, held_back, offer)
    hit("claim.after_select" if rows else "claim.empty")
    special = _special(conn, rows)
    if unfit := _unworkable(conn, db, special) | _held(conn, special):
        rows = [row for row in rows if leading_key(row) not in unfit]
    claimed = _take(conn, watcher_id, claim_id, rows) if rows else []
    if len(claimed) < len(rows) and not db.can.row_locks:  # nobody else writes meanwhile: their ids cannot be asked for
        held_back.unreachable |= {leading_key(row) for row in rows} - {leading_key(row) for row in claimed}
    if room is not None:
        room.spend(conn, claimed)
        held_back.note(room, claimed=len(claimed), wanted=limit)
    if not claimed:
        return []
    flows = usual.flows_of(conn, claimed)
    _begin(conn, db, flows, claimed, special)
    hit("claim.before_commit")
    return [
        usual.claimed_task(row, claim_id, flows) if row.is_usual else claimed_task(special[leading_key(row)], claim_id)
        for row in claimed
    ]


def may_claim(
    conn: Connection, queues: Sequence[str], limits: Limits, held_back: HeldBack, offer: Offer = ANYTHING
) -> bool:
    """Is anything ready that the limits let start? Asked without locks, so that watchers with nothing to take do not
    stand in the way of those that have; whoever claims looks again under the lock."""
    room = Room(conn, limits)
    if room.is_unlimited:
        return True
    shut = room.shut()
    for queue in dict.fromkeys(queues):
        if room.left(queue, 1) and not held_back.knows(queue, shut):
            with held_back.looking(queue, shut) as look:
                look.found_nothing = not page(conn, queue, [*room.outside(shut), *offer.conditions(queue)], 1)
            if not look.found_nothing:
                return True
    held_back.note(room, claimed=0, wanted=1)
    return False


def try_alone(conn: Connection, key: Key, watcher_id: str, claim_id: str) -> None:
    """Do to one ready row what a claim does to many. Errors: whatever it is that makes the claim fail."""
    rows = list(conn.execute(details().where(among([key]), IS_READY)))
    for row in _take(conn, watcher_id, claim_id, rows) if rows else ():
        claimed_task(row, claim_id)


def _selected(
    conn: Connection,
    db: Database,
    queues: Sequence[str],
    limit: int,
    room: Room | None,
    held_back: HeldBack,
    offer: Offer,
) -> list[Row[Any]]:
    """Up to `limit` candidates, of the first queues as many as there are."""
    rows: list[Row[Any]] = []
    for queue in dict.fromkeys(queues):
        if len(rows) < limit:
            rows += candidates(conn, db, queue, limit - len(rows), room, held_back, offer)
    return rows


def _special(conn: Connection, rows: list[Row[Any]]) -> dict[Key, Row[Any]]:
    """All that there is of the rows that are not usual. They are locked already, where the database has row locks."""
    keys = sorted(leading_key(row) for row in rows if not row.is_usual)
    return {leading_key(row): row for part in chunks(keys) for row in conn.execute(details().where(among(part)))}


def _unworkable(conn: Connection, db: Database, special: dict[Key, Row[Any]]) -> set[Key]:
    """Those whose counts would make the claim of all of them fail: these are suspended."""
    bad = {key: words for key, row in special.items() if (words := row_checks.bad_count(row._mapping))}
    if bad:
        refuse(conn, db, bad, IS_READY, priorities={key: row.task_priority for key, row in special.items()})
    return set(bad)


def _room(conn: Connection, db: Database, limits: Limits) -> Room | None:
    """What the limits leave free, over all queues of this claim; None without limits."""
    if not limits.any:
        return None
    db.dialect.claim_lock(conn)
    room = Room(conn, limits)
    return None if room.is_unlimited else room


def _begin(
    conn: Connection,
    db: Database,
    flows: Mapping[str, usual.FlowFacts],
    claimed: list[Row[Any]],
    special: Mapping[Key, Row[Any]],
) -> None:
    """Count what was claimed in its flows, of which this may be the first task."""
    flow_counts.start(conn, {flow_id for flow_id, flow in flows.items() if flow.status == Status.WAIT})
    by_hand = {row[0] for row in claimed if row[0] not in flows}
    by_hand |= {row[0] for row in claimed if not row.is_usual and special[leading_key(row)].was_suspended}
    if by_hand:  # a person set a suspended row back to 0: the flow's counters do not know yet
        flow_counts.recount(conn, db, by_hand)


_CLAIM = Move(
    "claim",
    keyed(),
    IS_READY_BY_KEY,
    claim_id=bindparam("new_claim_id", type_=Id(36)),
    owner=bindparam("new_owner", type_=Id(64)),
    claims=task_stat.c.claims + 1,
)


def _take(conn: Connection, watcher_id: str, claim_id: str, rows: list[Row[Any]]) -> list[Row[Any]]:
    """The guarded update is the lock. Where it moved fewer rows than were read, somebody else was faster (there was no
    SKIP LOCKED to tell us), and the claim id on the rows says which are ours."""
    keys = [leading_key(row) for row in rows]
    moved = _CLAIM(conn, keys, new_claim_id=claim_id, new_owner=watcher_id)
    if moved == len(rows):
        return rows
    mine = select(*KEY_COLUMNS).where(among(keys), task_stat.c.claim_id == claim_id)
    won = {Key(*row) for row in conn.execute(mine)}
    return [row for row in rows if leading_key(row) in won]


def _held(conn: Connection, special: dict[Key, Row[Any]]) -> set[Key]:
    """Exclusive tasks that a person set back to 0 while they ran: such a one waits until its holder has stopped it
    (`supervise.let_go`), or until the holder's lease has ended."""
    perhaps = {key for key, row in special.items() if row.is_exclusive and row.may_be_held}
    if not perhaps:
        return set()
    return {Key(*row) for row in conn.execute(select(*KEY_COLUMNS).where(among(perhaps), leases.owner_is_alive()))}
