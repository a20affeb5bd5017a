"""What tries that still run have logged so far (`kr_task_log`), and how it becomes part of their attempts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select

from engine import jsontext
from engine.dialects.clock import time_now
from engine.keys import Fence, Key, chunks, pair_among
from engine.tables import task_log

MAX_PART: Final = 65_536
"""Characters of one part."""
MAX_TRY: Final = 1_048_576
"""Characters of all parts of one try; what comes later is left out."""
MAX_KEPT: Final = 131_072
"""Characters of a try's log that its attempt keeps: the first and the last half."""


def append(conn: Connection, parts: Mapping[Fence, str]) -> dict[Fence, int]:
    """Add a part to the log of each of these tries, cut to MAX_PART. Shape: try -> how many characters were
    left out."""
    sizes = _sizes(conn, parts)
    left_out: dict[Fence, int] = {}
    rows: list[dict[str, Any]] = []
    at = time_now(conn)
    for fence, text in parts.items():
        kept = jsontext.clean_text(text, MAX_PART)[: max(0, MAX_TRY - sizes.get(fence, 0))]
        left_out[fence] = max(0, len(text) - len(kept))
        if kept:
            flow_id, seq, claim_id = fence
            named = {"task_flow_id": flow_id, "task_exec_seq": seq, "claim_id": claim_id}
            rows.append({**named, "written_ts": at, "text": kept})
    if rows:
        conn.execute(insert(task_log), rows)
    return left_out


def take(conn: Connection, fences: Collection[Fence]) -> dict[Fence, str]:
    """Take the parts of these tries away, to be kept with their attempts. Shape: try -> its log, for those that have
    one."""
    found: dict[Fence, list[str]] = {}
    for part in chunks(sorted(fences)):
        keys = [Key(flow_id, seq) for flow_id, seq, _ in part]
        these = pair_among(task_log.c.task_flow_id, task_log.c.task_exec_seq, keys)
        claims = task_log.c.claim_id.in_(sorted({claim_id for *_, claim_id in part}))
        query = select(task_log).where(these, claims).order_by(task_log.c.log_id)
        rows = list(conn.execute(query))
        for row in rows:
            found.setdefault(Fence(row.task_flow_id, row.task_exec_seq, row.claim_id), []).append(row.text)
        if rows:
            conn.execute(delete(task_log).where(these, claims))
    return {fence: jsontext.clean_text("".join(texts), MAX_KEPT) for fence, texts in found.items()}


def joined(live: str | None, last: str | None) -> str | None:
    """The log of a try: its parts, and what came with its end."""
    if live is None or last is None:
        return live if last is None else last
    return jsontext.clean_text(live + ("" if live.endswith("\n") else "\n") + last, MAX_KEPT)


def _sizes(conn: Connection, fences: Collection[Fence]) -> dict[Fence, int]:
    named = task_log.c.task_flow_id, task_log.c.task_exec_seq, task_log.c.claim_id
    found: dict[Fence, int] = {}
    for part in chunks(sorted(fences)):
        keys = [Key(flow_id, seq) for flow_id, seq, _ in part]
        query = select(*named, func.sum(func.char_length(task_log.c.text))).group_by(*named)
        for *fence, size in conn.execute(query.where(pair_among(named[0], named[1], keys))):
            found[Fence(*fence)] = int(size)
    return found
