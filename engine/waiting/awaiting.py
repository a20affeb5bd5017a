"""What a settlement means for the waits of its task: new ones are opened, and old ones end with what they were for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from engine.database import Database
from engine.errors import BadRequest, PoisonData
from engine.keys import chunks
from engine.settling.settlement import Settlement
from engine.tables import wait
from engine.waiting import messages, pokes, waits
from engine.waiting.messages import Address
from engine.waiting.tokens import digest, id_of
from engine.waiting.waits import NewWait


def follow(conn: Connection, db: Database, accepted: Sequence[Settlement]) -> None:
    """Open the waits that were asked for; end those of tasks that go on without them. The tasks are locked.

    Errors: PoisonData for what no wait can be made of.
    """
    pokes.follow(conn, accepted)
    # only a task that was claimed before can have awaited something: the others cost nothing
    failed = [item.task.key for item in accepted if item.kind in ("suspend", "retry") and item.task.claim_no > 1]
    waits.forget_expired(conn, failed)
    asking = [item for item in accepted if item.kind == "await"]
    if asking:
        begin(conn, db, asking)


def begin(conn: Connection, db: Database, asking: Sequence[Settlement]) -> None:
    """Insert the waits of these settlements, then look whether what they await has come before them."""
    news = [_new(item) for item in asking]
    tokens = [new.wait_id for new in news if new.kind == "callback"]
    _refuse_used(conn, tokens)
    waits.open_waits(conn, news)
    addressed = {
        new.wait_id: Address(new.name or "", new.correlation_key or "") for new in news if new.kind == "message"
    }
    with_mail = messages.addresses_with_mail(conn, addressed.values()) if addressed else []
    if with_mail:
        messages.meet(conn, db, with_mail, own=addressed.keys())
    if tokens:
        messages.meet_early(conn, db, tokens)


def _new(item: Settlement) -> NewWait:
    wish = item.wait
    if wish is None:
        raise PoisonData("its Await says nothing of what it awaits")
    key, name = wish.key, wish.name
    try:
        for part, text in (("name", name), ("key", key)):
            if text is not None:
                messages.check_text(part, text)
    except BadRequest as error:
        raise PoisonData(f"its Await: {error}") from None
    if wish.kind == "message" and name is not None and name.startswith("~"):
        raise PoisonData(f"the name {name!r} of its Await begins with a tilde, which is kept for Penstock's own")
    due = {"delay_s": wish.delay_s, "due_at": wish.due_at}
    if wish.kind != "callback":
        return NewWait(item.task.key, wish.kind, name, key, wish.details, **due)  # type: ignore[arg-type]
    hashed = digest(key or "")
    return NewWait(item.task.key, wish.kind, name, hashed, wish.details, **due, wait_id=id_of(hashed))  # type: ignore[arg-type]


def _refuse_used(conn: Connection, token_ids: Sequence[str]) -> None:
    for part in chunks(sorted(token_ids)):
        if conn.scalars(select(wait.c.wait_id).where(wait.c.wait_id.in_(part))).first():
            raise PoisonData("the token of its Await was awaited before: each takes a new one, of call.new_token()")
