"""How a batch is cut by weight: pure functions, and once through the database."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from factories import claim, define, enlisted, start, tasks

from engine.claimed import ClaimedTask
from engine.database import Database
from engine.keys import Key
from engine.settling.settlement import Settlement, Verdict
from engine.states import Status
from watcher import capture, cycle, portions
from watcher.cycle import Cycle
from watcher.settings import Settings


def settlement(text: str, number: int = 1) -> Settlement:
    task = ClaimedTask(Key("f", number), "c", "w", 1, "Noop", "{}", None, 1, 1)
    return Settlement(task, "finish", result=text)


@pytest.mark.parametrize(
    "sizes, parts",
    [
        ([], [0]),
        ([5], [1]),
        ([5, 5], [2]),
        ([5, 6], [1, 1]),
        ([11, 1], [1, 1]),
        ([1, 11, 1], [1, 1, 1]),
        ([2, 2, 2, 2, 2, 2], [5, 1]),
    ],
)
def test_a_batch_is_cut_at_ten_bytes(sizes: list[int], parts: list[int]) -> None:
    batch = [settlement("x" * size, number) for number, size in enumerate(sizes)]
    cut = portions.portions(batch, 10)
    assert [len(part) for part in cut] == parts
    assert [item for part in cut for item in part] == batch


def test_bytes_are_counted_and_not_characters() -> None:
    assert portions.weight_of(settlement("工")) == 3


def test_a_heavy_batch_is_settled_in_several_transactions(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    define(db)
    flows = [start(db) for _ in range(6)]
    watcher_id = enlisted(db)
    batch = [Settlement(task, "finish", result='"' + "x" * 1000 + '"') for task in claim(db)]
    monkeypatch.setattr(cycle, "portions", lambda given: portions.portions(given, 2_100))
    sizes: list[int] = []
    settle = Cycle._settle

    def noted(self: Cycle, conn: Any, part: Any, shortly: bool) -> Any:
        sizes.append(len(part))
        return settle(self, conn, part, shortly)

    monkeypatch.setattr(Cycle, "_settle", noted)
    turn = Cycle(db, watcher_id, Settings()).turn(batch, 0)
    assert sizes == [2, 2, 2]
    assert [verdict for _, verdict in turn.settled] == [Verdict.ACCEPTED] * 6
    assert {row.exec_status for flow_id in flows for row in tasks(db, flow_id)} == {Status.FINISH}


def test_a_program_that_says_a_gigabyte_keeps_a_small_log() -> None:
    line = "x" * 10_000
    transcript = capture.Transcript()
    tracemalloc.start()
    for _ in range(100_000):
        transcript.add(line)
    kept = transcript.text() or ""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(kept) <= 2 * capture.MAX_CHARS
    assert peak < 2_000_000
