"""Workers outlive whatever goes wrong around the programs that they run."""

from __future__ import annotations

import queue

from engine.claimed import ClaimedTask
from engine.ids import new_claim_id
from engine.keys import Key
from engine.settling.settlement import Settlement
from watcher.pool import Later, Pool
from watcher.settlements import released
from watcher.slots import Slot


def a_task(seq: int) -> ClaimedTask:
    return ClaimedTask(Key("f", seq), new_claim_id(), "w", seq, "p", None, None, 1, 1)


def test_a_worker_outlives_an_error_of_its_watcher() -> None:
    """Its task fails, with words, and the next one runs: a worker that died would keep its task for ever."""
    answers: queue.SimpleQueue[Settlement] = queue.SimpleQueue()

    def execute(slot: Slot, later: Later) -> Settlement:
        if slot.task.key.seq == 1:
            raise ZeroDivisionError("in the watcher")
        return released(slot.task)

    pool = Pool(1, execute, answers.put)
    pool.start()
    pool.hand(a_task(1))
    pool.hand(a_task(2))
    first, second = answers.get(timeout=10), answers.get(timeout=10)
    pool.close()
    assert (first.task.key.seq, first.kind) == (1, "suspend")
    assert "the watcher could not run it: ZeroDivisionError('in the watcher')" in (first.error or "")
    assert (second.task.key.seq, second.kind) == (2, "release")
