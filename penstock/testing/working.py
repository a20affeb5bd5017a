"""One round of work in a lab: a real watcher, until it has nothing left to do; and when there will be more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from engine.database import Database
from engine.dialects.clock import now
from engine.dialects.held_clock import HeldClock
from engine.lookout import Seen, look
from engine.tables import limit_stat, task_stat
from penstock.testing.programs import Programs
from watcher.loop import Watcher
from watcher.settings import Settings

STOP_S: Final = 5.0
INTERVAL_S: Final = 0.05


def look_at(db: Database) -> Seen:
    """What there is to do."""
    with db.read() as conn:
        return look(conn, _queues(db))


def next_due(db: Database, clock: HeldClock) -> datetime | None:
    """When something falls due by itself that is not due yet; None if nothing will."""
    seen = look_at(db)
    with db.read() as conn:
        free_at = conn.scalar(select(func.min(limit_stat.c.free_at_ts)).where(limit_stat.c.free_at_ts > now()))
    ahead = [seconds for seconds in (seen.next_due_s, seen.next_deadline_s) if seconds is not None and seconds > 0]
    times = [clock.now + timedelta(seconds=min(ahead))] if ahead else []
    if seen.ready and free_at is not None:
        times.append(free_at)
    return min(times, default=None)


def watch(
    db: Database,
    programs: Programs,
    workers: int,
    http_networks: Sequence[str],
    ends: float,
    *,
    on_late: Callable[[], BaseException],
) -> bool:
    """Let a watcher work until it has nothing left to do. Is there more to do now? What is ready still is none of it: a
    limit or a pause holds it back. `ends` is on the monotonic clock. Errors: what `on_late` makes, after it; the
    watcher's own."""
    settings = Settings(
        workers=workers,
        interval_s=INTERVAL_S,
        heartbeat_in="thread",
        queues=_queues(db),
        ageing_s=0,
        grace_s=1.0,
        http_networks=tuple(http_networks),
    )
    watcher = Watcher(db, programs.catalogue, settings, programs.check)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            watcher.run(until_idle=True, leave_rates=True)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="penstock-lab", daemon=True)
    thread.start()
    thread.join(max(0.0, ends - time.monotonic()))
    if thread.is_alive():
        late = on_late()  # which looks before anything is taken back
        watcher.stop()
        thread.join(STOP_S)
        raise late
    if errors:
        raise errors[0]
    return look_at(db).anything_but_ready


def _queues(db: Database) -> tuple[str, ...]:
    """Every queue that a task stands in: no watcher is missing here."""
    with db.read() as conn:
        found = set(conn.scalars(select(task_stat.c.queue).distinct()))
    return tuple(sorted(found | {"default"}))
