"""What remote workers log while their tries run."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from engine import task_logs
from engine.database import Database
from engine.keys import Fence
from engine.remote import workers
from engine.supervise.holdings import held_by


def append(db: Database, worker_id: str, parts: Mapping[Fence, str]) -> dict[Fence, int | None]:
    """Add to the logs of tries that this worker holds. Shape: try -> how many characters were left out; None for one
    that it does not hold. Errors: UnknownWorker."""

    def work(conn: Connection) -> dict[Fence, int | None]:
        workers.find(conn, worker_id)
        held = held_by(conn, worker_id)
        kept = task_logs.append(conn, {fence: text for fence, text in parts.items() if fence in held})
        return {fence: kept.get(fence) for fence in parts}

    return db.transact(work)
