"""How a watcher stops: nothing more is claimed, what runs may finish within the grace, and the rest is handed back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog

from engine.errors import PenstockError
from engine.failpoints import hit
from engine.settling.settlement import Settlement
from watcher.attempt import with_log
from watcher.cycle import Cycle
from watcher.pool import Pool
from watcher.portions import portions
from watcher.settlements import released

log = structlog.get_logger("penstock.watcher")
STOP_MARGIN_S = 2.0
"""How long interrupted programs have to come back before their tasks are handed back without them."""


class Drain:
    """The stop of one watcher. `ask` may be called from any thread or signal handler, all else from its loop."""

    def __init__(self, pool: Pool, cycle: Cycle, grace_s: float, on_begin: Callable[[], None]) -> None:
        self._pool = pool
        self._cycle = cycle
        self._grace_s = grace_s
        self._on_begin = on_begin
        self._stop_by: float | None = None
        self._interrupted = False
        self.asked = 0
        """How often: from the second time on, nothing waits for the grace."""
        self.left_behind = 0
        """Tasks that could be neither settled nor handed back, as the database was away: their lease will lapse."""

    def ask(self) -> None:
        self.asked += 1
        self._cycle.claims = False

    def is_over(self, answered: Sequence[Settlement]) -> bool:
        """Is everything handed back that can be? Called at each round of a stop; `answered` waits to be settled."""
        now = time.monotonic()
        stop_by = self._begin(now) if self._stop_by is None else self._stop_by
        if self.asked > 1 and not self._interrupted:
            self._stop_by = stop_by = min(now, stop_by)
        if now >= stop_by and not self._interrupted:
            self._pool.interrupt()
            self._interrupted = True
        if not self._pool.slots and not answered:
            return True
        if now < stop_by + STOP_MARGIN_S:
            return False
        self._hand_back(answered)
        return True

    def _begin(self, now: float) -> float:
        hit("drain.asked")
        log.info("watcher stopping", running=len(self._pool.slots))
        self._on_begin()
        self._pool.turn_back()
        self._stop_by = now + self._grace_s
        return self._stop_by

    def _hand_back(self, answered: Sequence[Settlement]) -> None:
        fences = {item.task.fence for item in answered}
        silent = [slot for fence, slot in self._pool.slots.items() if fence not in fences]
        if silent:
            log.warning("programs did not stop in time, their tasks go back", tasks=len(silent))
            self._pool.kill()  # what can be ended must not run on beside whoever takes its task
        batch = [*answered, *(with_log(released(slot.task), slot.log) for slot in silent)]
        self.left_behind = len(batch)
        try:
            for part in portions(batch):
                self._cycle.settle_each(part)
                self.left_behind -= len(part)
        except PenstockError as error:
            log.error("could not hand tasks back, their lease will lapse", error=str(error), tasks=self.left_behind)
