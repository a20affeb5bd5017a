"""The numbers that a program may hand to what keeps the newest writer only."""

from __future__ import annotations

from factories import define, start, task
from waiting import settled
from watching import Watch

from engine.database import Database
from engine.tables import task_option
from penstock import Call, Fail, Finish, Outcome, program


def test_the_fence_is_larger_with_every_claim(db: Database, watch: Watch) -> None:
    seen: list[tuple[int, str]] = []

    @program("writes")
    def writes(call: Call) -> Outcome:
        seen.append((call.fence, call.claim_id))
        return Finish() if len(seen) == 3 else Fail("once more")

    define(db, program="writes")
    with db.transaction() as conn:
        conn.execute(task_option.insert().values(task_id="w", task_seq=1, max_attempts=3, retry_delay_s=0))
    flow = start(db)
    watch(writes)
    settled(db, (flow, 1))
    assert [fence for fence, _ in seen] == [1, 2, 3]
    assert len({claim_id for _, claim_id in seen}) == 3
    assert task(db, (flow, 1)).claims == 3
