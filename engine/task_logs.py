"""What tries that still run have logged so far (`kr_task_log`), and how it becomes part of their attempts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, select, update

from engine import jsontext
from engine.database import Database
from engine.dialects.clock import later, time_now
from engine.dialects.rowset import one_of
from engine.keys import Fence, Key, chunks, pair_among
from engine.tables import IS_RUNNING, attempt, task_log, task_stat

MAX_PART: Final = 65_536
"""Characters of one part."""
MAX_TRY: Final = 1_048_576
"""Characters of all parts of one try; what comes later is left out."""
MAX_KEPT: Final = 131_072
"""Characters of a try's log that its attempt keeps: the first and the last half."""
LEFT_S: Final = 20.0
"""How old a part is at least that nobody will take away any more."""
SWEPT: Final = 16
"""Tries whose parts one transaction sweeps up: each may have a mebibyte."""


def append(conn: Connection, parts: Mapping[Fence, str]) -> dict[Fence, int]:
    """Add a part to the log of each of these tries, cut to MAX_PART. Shape: try -> how many characters were
    left out."""
    sizes = _sizes(conn, parts)
    kept = {
        fence: jsontext.clean_text(text, MAX_PART)[: max(0, MAX_TRY - sizes.get(fence, 0))]
        for fence, text in parts.items()
    }
    add(conn, {fence: text for fence, text in kept.items() if text})
    return {fence: max(0, len(text) - len(kept[fence])) for fence, text in parts.items()}


def add(conn: Connection, parts: Mapping[Fence, str]) -> None:
    """Add parts as they are, by whoever keeps to the bounds himself."""
    if parts:
        at = time_now(conn)
        rows = [
            {"task_flow_id": flow_id, "task_exec_seq": seq, "claim_id": claim_id, "written_ts": at, "text": text}
            for (flow_id, seq, claim_id), text in parts.items()
        ]
        conn.execute(insert(task_log), rows)


def take(conn: Connection, fences: Collection[Fence]) -> dict[Fence, str]:
    """Take the parts of these tries away, to be kept with their attempts. Shape: try -> its log, for those that have
    one."""
    found: dict[Fence, list[str]] = {}
    for part in chunks(sorted(fences)):
        rows = list(conn.execute(select(task_log).where(_of(part)).order_by(task_log.c.log_id)))
        for row in rows:
            found.setdefault(Fence(row.task_flow_id, row.task_exec_seq, row.claim_id), []).append(row.text)
        if rows:
            conn.execute(delete(task_log).where(_of(part)))
    return {fence: jsontext.clean_text("".join(texts), MAX_KEPT) for fence, texts in found.items()}


def drop(conn: Connection, fences: Collection[Fence]) -> None:
    """Take the parts of these tries away, unread: their attempts have been given the whole."""
    for part in chunks(sorted(fences)):
        conn.execute(delete(task_log).where(_of(part)))


def sweep(db: Database) -> int:
    """Take away what is left of tries that were ended over the head of a watcher which then died, or of a worker that
    says nothing more. An attempt on record that has no log gets it. Returns how many tries."""

    def work(conn: Connection) -> int:
        named = task_log.c.task_flow_id, task_log.c.task_exec_seq, task_log.c.claim_id
        same = [column == task_stat.c[column.name] for column in named]
        is_left = task_log.c.written_ts < later(-LEFT_S), ~exists(select(1).where(*same, IS_RUNNING))
        left = [Fence(*row) for row in conn.execute(select(*named).where(*is_left).distinct().limit(SWEPT))]
        if not left:
            return 0
        for fence, text in take(conn, left).items():
            tried = one_of([attempt.c[column.name] for column in named], [fence])
            conn.execute(update(attempt).where(tried, attempt.c.log.is_(None)).values(log=text))
        return len(left)

    return db.transact(work)


def joined(live: str | None, last: str | None) -> str | None:
    """The log of a try: its parts, and what came with its end."""
    if live is None or last is None:
        return live if last is None else last
    return jsontext.clean_text(live + ("" if live.endswith("\n") else "\n") + last, MAX_KEPT)


def _of(fences: Collection[Fence]) -> ColumnElement[bool]:
    """The parts of these tries, and of no later try of the same tasks."""
    return one_of((task_log.c.task_flow_id, task_log.c.task_exec_seq, task_log.c.claim_id), fences)


def _sizes(conn: Connection, fences: Collection[Fence]) -> dict[Fence, int]:
    named = task_log.c.task_flow_id, task_log.c.task_exec_seq, task_log.c.claim_id
    found: dict[Fence, int] = {}
    for part in chunks(sorted(fences)):
        keys = [Key(flow_id, seq) for flow_id, seq, _ in part]
        query = select(*named, func.sum(func.char_length(task_log.c.text))).group_by(*named)
        for *fence, size in conn.execute(query.where(pair_among(named[0], named[1], keys))):
            found[Fence(*fence)] = int(size)
    return found
