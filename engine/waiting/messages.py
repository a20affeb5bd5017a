"""Messages by name and correlation key: sent before or after somebody awaits them, first in first out.

Whoever comes second finds the first: a sender looks for waits after inserting its message, a task that awaits looks for
messages after inserting its wait. Two that come at the same moment may both see nothing; `match` brings them together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from engine import jsontext
from engine.database import Database
from engine.dialects.clock import later, now
from engine.dialects.rowset import one_of
from engine.errors import BadRequest, OutcomeUnknown
from engine.ids import new_wait_id
from engine.keys import chunks
from engine.tables import IS_OPEN_WAIT, IS_UNREAD, message, wait
from engine.waiting import waits
from engine.waiting.tokens import CALLBACK

T = TypeVar("T")
KEEP_S: Final = 86_400.0
BATCH: Final = 200
_AT_ONCE: Final = 25
"""Addresses asked for in one statement."""
_FEW: Final = 500
_ROUNDS: Final = 10
MAX_TEXT: Final = 256
IS_FRESH: Final[ColumnElement[bool]] = or_(message.c.expires_ts.is_(None), message.c.expires_ts > now())


class Address(NamedTuple):
    """Where a message goes, and where somebody awaits one."""

    name: str
    key: str


class Sent(NamedTuple):
    """A message that was sent, and the wait that it went to; None while nobody awaits it."""

    message_id: str
    wait_id: str | None


def send(db: Database, name: str, key: str, payload: Any, *, actor: str, expires_s: float = KEEP_S) -> Sent:
    """Send a message to the task that has awaited one of this name and key for longest, or keep it until one does.

    A message that nobody awaits is kept for `expires_s` seconds of the database's clock. Errors: BadRequest for a name
    or key that is no text of 1 to 256 characters, a name that begins with a tilde, or a payload that is not JSON or is
    larger than 1 MiB.
    """
    message_id = new_wait_id()

    def work(conn: Connection) -> Sent:
        if (known := _wait_of(conn, message_id)) is not None:
            return Sent(message_id, known.wait_id)  # the answer to an earlier COMMIT was lost
        return send_in(conn, db, name, key, payload, actor=actor, expires_s=expires_s, message_id=message_id)

    return for_sure(db, work)


def send_in(
    conn: Connection,
    db: Database,
    name: str,
    key: str,
    payload: Any,
    *,
    actor: str,
    expires_s: float = KEEP_S,
    message_id: str | None = None,
) -> Sent:
    """The same in the caller's transaction. Locks the task that is given it."""
    check_text("name", name)
    check_text("key", key)
    check_text("actor", actor)
    if name.startswith("~"):
        raise BadRequest("name", f"{name!r} begins with a tilde, which is kept for messages of Penstock's own")
    if not 0 < expires_s < float("inf"):
        raise BadRequest("expires_s", f"{expires_s!r} is no number of seconds above 0")
    text = document("payload", payload)
    message_id = message_id or new_wait_id()
    address = Address(name, key)
    insert_message(conn, message_id, address, text, actor, expires_s)
    given: dict[str, str] = {}
    for _ in range(_ROUNDS):  # another sender may take the wait that was meant: then the next one
        given |= meet(conn, db, [address])
        if message_id in given or not _oldest(conn, _takers, [address]):
            break
    return Sent(message_id, given.get(message_id))


def match(db: Database) -> int:
    """Bring together open waits and unread messages that missed each other, or that were inserted by SQL.

    Returns how many messages were handed over.
    """

    early = select(wait.c.wait_id).join_from(message, wait, wait.c.wait_id == message.c.message_id)
    early = early.where(IS_UNREAD, IS_FRESH, message.c.name == CALLBACK, IS_OPEN_WAIT).limit(BATCH)
    with db.read() as conn:  # nearly always there is nothing, and that takes no lock
        called = conn.scalars(early).all()
        missed = _missed(conn)
    if not called and not missed:
        return 0
    return db.transact(lambda conn: len(meet(conn, db, missed)) + len(meet_early(conn, db, called)))


def expire(db: Database) -> int:
    """Delete a batch of unread messages whose time is over. Returns how many."""

    def work(conn: Connection) -> int:
        stale = select(message.c.message_id).where(IS_UNREAD, message.c.expires_ts <= now()).limit(BATCH)
        if db.can.row_locks:
            stale = stale.with_for_update(skip_locked=db.can.skip_locked)
        ids = conn.scalars(stale).all()
        return conn.execute(delete(message).where(message.c.message_id.in_(ids), IS_UNREAD)).rowcount if ids else 0

    return db.transact(work)


def insert_message(
    conn: Connection, message_id: str, address: Address, text: str | None, actor: str, expires_s: float
) -> None:
    row = {"message_id": message_id, "name": address.name, "correlation_key": address.key, "payload": text}
    conn.execute(insert(message).values(**row, sent_by=actor, sent_ts=now(), expires_ts=later(expires_s)))


def meet(
    conn: Connection, db: Database, addresses: Collection[Address], own: Collection[str] | None = None
) -> dict[str, str]:
    """Hand the oldest unread messages of these addresses to the oldest open waits. Locks the tasks of the waits.

    With `own`, only these waits are served, whose tasks the caller has locked, and only when it is their turn. Where
    somebody else took a message or closed a wait meanwhile, the rest move up. Shape: message_id -> wait_id.
    """
    letters = _oldest(conn, _letters, addresses)
    takers = _oldest(conn, _takers, letters) if letters else {}
    for address, found in takers.items():
        both = list(zip(found, letters[address], strict=False))
        mine = [(taker, letter) for taker, letter in both if own is None or taker in own]
        takers[address], letters[address] = [taker for taker, _ in mine], [letter for _, letter in mine]
    open_now = {
        row.wait_id: row for row in waits.take_open(conn, db, [one for found in takers.values() for one in found])
    }
    unread = _take_unread(conn, db, [letter for address in takers for letter in letters[address]])
    pairs: dict[str, str] = {}
    for address, found in takers.items():
        still = [taker for taker in found if taker in open_now]
        pairs |= zip([letter for letter in letters[address] if letter in unread], still, strict=False)
    _hand_over(conn, db, pairs, [open_now[taker] for taker in pairs.values()])
    return pairs


def meet_early(conn: Connection, db: Database, wait_ids: Collection[str]) -> dict[str, str]:
    """Hand early call-backs to the waits that they belong to. Shape: as `meet`; here both ids are the same."""
    came: set[str] = set()
    for part in chunks(sorted(wait_ids)):
        early = select(message.c.message_id).where(message.c.message_id.in_(part), message.c.name == CALLBACK)
        came.update(conn.scalars(early.where(IS_UNREAD, IS_FRESH)))
    open_now = {row.wait_id: row for row in waits.take_open(conn, db, came)}
    pairs = {one: one for one in sorted(_take_unread(conn, db, open_now))}
    _hand_over(conn, db, pairs, [open_now[one] for one in pairs])
    return pairs


def addresses_with_mail(conn: Connection, addresses: Collection[Address]) -> list[Address]:
    """Those of the addresses that have an unread message."""
    found: set[Address] = set()
    for part in chunks(sorted(set(addresses))):
        same = one_of((message.c.name, message.c.correlation_key), part)
        query = select(message.c.name, message.c.correlation_key).distinct().where(IS_UNREAD, IS_FRESH, same)
        found |= {Address(*row) for row in conn.execute(query)}
    return sorted(found)


def for_sure(db: Database, work: Callable[[Connection], T]) -> T:
    """Run `work`, which looks first whether it was done already, until the answer to its COMMIT arrives."""
    for _ in range(4):
        try:
            return db.transact(work)
        except OutcomeUnknown:
            continue
    return db.transact(work)


def document(field: str, payload: Any) -> str | None:
    """A payload as JSON text. Errors: BadRequest if it is not JSON, or larger than 1 MiB."""
    try:
        return None if payload is None else jsontext.dumps(payload, max_bytes=jsontext.MAX_RESULT_BYTES)
    except jsontext.NotJSON as error:
        raise BadRequest(field, str(error)) from error


def check_text(field: str, value: Any) -> None:
    """Errors: BadRequest unless it is a text that every database stores and compares alike."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        raise BadRequest(field, f"{str(value)[:40]!r} is no text of 1 to {MAX_TEXT} characters")
    if "\x00" in value or jsontext.clean_text(value, MAX_TEXT) != value:
        raise BadRequest(field, "holds characters that not every database can store")


def _missed(conn: Connection) -> list[Address]:
    """Addresses that have both an unread message and an open wait, at most a batch.

    Where there are few of one side, these are looked up on the other; else both sides are read through. Never a join: a
    planner that takes the tables for small would compare each row of the one with each row of the other.
    """
    letters = select(message.c.name, message.c.correlation_key).where(IS_UNREAD, IS_FRESH, message.c.name != CALLBACK)
    takers = select(wait.c.name, wait.c.correlation_key).where(IS_OPEN_WAIT, wait.c.kind == "message")
    few = [Address(*row) for row in conn.execute(letters.distinct().limit(_FEW + 1))]
    if len(few) <= _FEW:
        found: set[Address] = set()
        for part in chunks(sorted(few)):
            same = one_of((wait.c.name, wait.c.correlation_key), part)
            found |= {Address(*row) for row in conn.execute(takers.distinct().where(same))}
        return sorted(found)[:BATCH]
    few = [Address(*row) for row in conn.execute(takers.distinct().limit(_FEW + 1))]
    if len(few) <= _FEW:
        return addresses_with_mail(conn, few)[:BATCH]
    zero, one = literal_column("0", Integer).label("side"), literal_column("1", Integer).label("side")
    both = union_all(letters.add_columns(zero).distinct(), takers.add_columns(one).distinct()).subquery()
    address = both.c.name, both.c.correlation_key
    on_both = func.min(both.c.side) != func.max(both.c.side)
    return [Address(*row) for row in conn.execute(select(*address).group_by(*address).having(on_both).limit(BATCH))]


def _wait_of(conn: Connection, message_id: str) -> Row[Any] | None:
    return conn.execute(select(message.c.wait_id).where(message.c.message_id == message_id)).one_or_none()


def _letters(address: Address) -> Select[Any]:
    here = message.c.name == address.name, message.c.correlation_key == address.key
    columns = message.c.name, message.c.correlation_key, message.c.message_id.label("id"), message.c.sent_ts.label("ts")
    return select(*columns).where(IS_UNREAD, IS_FRESH, *here).order_by(message.c.sent_ts, message.c.message_id)


def _takers(address: Address) -> Select[Any]:
    here = wait.c.kind == "message", wait.c.name == address.name, wait.c.correlation_key == address.key
    columns = wait.c.name, wait.c.correlation_key, wait.c.wait_id.label("id"), wait.c.created_ts.label("ts")
    return select(*columns).where(IS_OPEN_WAIT, *here).order_by(wait.c.created_ts, wait.c.wait_id)


def _oldest(conn: Connection, of: Any, addresses: Iterable[Address]) -> dict[Address, list[str]]:
    """The ids of the oldest rows of each address, oldest first; an address without any is left out."""
    found: dict[Address, list[tuple[Any, str]]] = {}
    for part in chunks(sorted(set(addresses)), _AT_ONCE):
        each = [select(of(address).limit(BATCH).subquery()) for address in part]
        for name, key, row_id, instant in conn.execute(union_all(*each) if len(each) > 1 else each[0]):
            found.setdefault(Address(name, key), []).append((instant, row_id))
    return {address: [row_id for _, row_id in sorted(rows)] for address, rows in found.items()}


def _take_unread(conn: Connection, db: Database, message_ids: Collection[str]) -> set[str]:
    """Lock those of the messages that nobody was given meanwhile."""
    found: set[str] = set()
    for part in chunks(sorted(message_ids)):
        query = select(message.c.message_id).where(message.c.message_id.in_(part), IS_UNREAD, IS_FRESH)
        if db.can.row_locks:
            query = query.order_by(message.c.message_id).with_for_update()
        found.update(conn.scalars(query))
    return found


def _hand_over(conn: Connection, db: Database, pairs: dict[str, str], takers: Sequence[Row[Any]]) -> None:
    """Write the pairs down on both sides; the payload goes from row to row inside the database."""
    for part in chunks(sorted(pairs.items()), BATCH):
        given = dict(part)
        to = update(message).where(message.c.message_id.in_(given), IS_UNREAD)
        conn.execute(to.values(wait_id=case(given, value=message.c.message_id)))
        origin = case({taker: letter for letter, taker in part}, value=wait.c.wait_id)
        carried = {
            "payload": select(message.c.payload).where(message.c.message_id == origin).scalar_subquery(),
            "closed_by": select(message.c.sent_by).where(message.c.message_id == origin).scalar_subquery(),
        }
        waits.write(conn, given.values(), "arrived", **carried)
    waits.lower(conn, db, takers)
