"""Exclusive tasks: they end before the lease of a watcher that may be alone in the dark, and at no other time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from factories import by_hand, insert_task, task
from patience import until
from proxy import Proxy
from waiting import attempts, settled
from watching import Watch

from engine.database import Database
from engine.keys import Key

SHORT: dict[str, Any] = {"lease_s": 3.0, "heartbeat_s": 0.4, "interval_s": 0.1, "stop_margin_s": 1.2}


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    with Proxy(url) as wire:
        yield wire


def put(db: Database, name: str, path: Path, seconds: float, **columns: Any) -> Key:
    parameters = json.dumps({"path": str(path), "seconds": seconds})
    return insert_task(db, name, program="leaves marks", parameters=parameters, wait_count=0, **columns)


def marks(path: Path) -> list[tuple[int, float]]:
    """(process, time) of each mark, in the order of time."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = [(int(pid), float(at)) for pid, at in (line.split() for line in lines)]
    return sorted(found, key=lambda mark: mark[1])


def changes(path: Path) -> int:
    """How often another process went on where one had been."""
    return sum(one[0] != other[0] for one, other in pairwise(marks(path)))


@pytest.mark.needs("many_writers")
def test_in_silence_it_ends_before_the_lease_and_others_run_on(
    db: Database, watch: Watch, proxy: Proxy, tmp_path: Path
) -> None:
    alone, ordinary = tmp_path / "alone", tmp_path / "ordinary"
    exclusive = put(db, "exclusive", alone, 8.0, is_exclusive=True, executor="process")
    plain = put(db, "plain", ordinary, 8.0)
    cut_off = watch("battery_process", url=proxy.url, **SHORT)
    until(lambda: marks(alone) and marks(ordinary))
    [first] = {pid for pid, _ in marks(alone)}
    watch("battery_process", **{**SHORT, "lease_s": 5.0})
    proxy.cut()
    until(lambda: len({pid for pid, _ in marks(alone)}) == 2, seconds=30)
    last = max(at for pid, at in marks(alone) if pid == first)
    assert max(at for _, at in marks(ordinary)) > last, "an ordinary one runs on"
    proxy.mend()
    settled(db, exclusive, plain, seconds=40)
    told = [(tried.outcome, tried.error, tried.watcher_id == cut_off.id) for tried in attempts(db, exclusive)]
    assert changes(alone) == 1, f"the two runs of the exclusive task did not overlap: {told}"
    assert (task(db, exclusive).exec_status, task(db, exclusive).attempt) == (3, 1)
    assert cut_off.lives


@pytest.mark.needs("many_writers")
def test_while_the_server_answers_it_runs_on(db: Database, watch: Watch, proxy: Proxy, tmp_path: Path) -> None:
    """Who is refused knows that nobody else can claim either."""
    path = tmp_path / "marks"
    key = put(db, "exclusive", path, 5.0, is_exclusive=True, executor="process")
    watching = watch("battery_process", url=proxy.url, **SHORT)
    until(lambda: marks(path))
    begun = marks(path)[0][1]
    proxy.close()  # from now on its port refuses
    until(lambda: watching.watcher._heartbeat.holds_until is not None and not watching.watcher._heartbeat.holds)
    until(lambda: marks(path)[-1][1] >= begun + 4.9)
    assert len({pid for pid, _ in marks(path)}) == 1
    assert task(db, key).claims == 1
    watching.watcher.stop()
    watching.watcher.stop()


@pytest.mark.by_turns
def test_none_begins_when_it_would_end_too_late(db: Database, watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "marks"
    watching = watch("battery_process", **SHORT)
    until(lambda: watching.watcher._heartbeat.holds_until)
    guard, lease = watching.watcher._guard, watching.watcher._guard._lease
    guard._lease = SimpleNamespace(holds_until=time.monotonic(), silent=True)  # whatever the next beat says
    key = put(db, "exclusive", path, 0.1, is_exclusive=True, executor="process")
    until(lambda: any(tried.outcome == "released" for tried in attempts(db, key)))
    guard._lease = lease
    settled(db, key)
    assert task(db, key).exec_status == 3
    time.sleep(0.1)
    assert len({pid for pid, _ in marks(path)}) == 1


@pytest.mark.by_turns
def test_set_back_by_hand_it_runs_again_once_it_has_stopped(db: Database, watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "marks"
    key = put(db, "exclusive", path, 15.0, is_exclusive=True, executor="process")
    watch("battery_process", interval_s=0.1)
    watch("battery_process", interval_s=0.1)
    until(lambda: marks(path))
    by_hand(db, key, 0)
    settled(db, key, seconds=40)
    assert task(db, key).exec_status == 3
    assert (len({pid for pid, _ in marks(path)}), changes(path)) == (2, 1), "one after the other"
