"""Settings that would do harm are refused, by name."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import BadRequest
from watcher.settings import Settings


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"workers": 0}, "workers"),
        ({"workers": -1}, "workers"),
        ({"workers": 100_000}, "workers"),
        ({"limit": 0}, "limit"),
        ({"max_active": 0}, "max_active"),
        ({"max_active_of": {"w": 0}}, "max_active"),
        ({"batch": 0}, "batch"),
        ({"batch": 501}, "batch"),
        ({"interval_s": 0}, "interval_s"),
        ({"interval_s": float("nan")}, "interval_s"),
        ({"interval_s": float("inf")}, "interval_s"),
        ({"grace_s": -1}, "grace_s"),
        ({"grace_s": float("inf")}, "grace_s"),
        ({"lease_s": 0}, "lease_s"),
        ({"lease_s": 10, "heartbeat_s": 3.4}, "heartbeat_s"),
        ({"lease_s": 3, "heartbeat_s": 5}, "heartbeat_s"),
        ({"lease_s": 9, "heartbeat_s": 3}, "heartbeat_s"),
        ({"heartbeat_in": "elsewhere"}, "heartbeat_in"),
        ({"beat_statement_s": 5.1}, "beat_statement_s"),
        ({"beat_statement_s": 0}, "beat_statement_s"),
        ({"statement_s": 21}, "statement_s"),
        ({"statement_s": float("nan")}, "statement_s"),
        ({"lock_s": 11}, "lock_s"),
        ({"lock_s": 3, "statement_s": 2}, "lock_s"),
        ({"idle_s": 20}, "idle_s"),
        ({"stop_margin_s": 20}, "stop_margin_s"),
        ({"stop_margin_s": -1}, "stop_margin_s"),
        ({"reap_s": 20}, "reap_s"),
        ({"reap_s": 0}, "reap_s"),
        ({"stall_s": 19}, "stall_s"),
        ({"stall_s": float("inf")}, "stall_s"),
        ({"heartbeat_s": 0}, "heartbeat_s"),
        ({"queues": ()}, "queues"),
        ({"queues": ("a", "")}, "queues"),
        ({"queues": "default"}, "queues"),
        ({"max_losses": 0}, "max_losses"),
        ({"db_wait_s": -1}, "db_wait_s"),
        ({"log_interval_s": -1}, "log_interval_s"),
        ({"log_interval_s": 0.01}, "log_interval_s"),
        ({"ageing_s": -1}, "ageing_s"),
        ({"ageing_s": 0.5}, "ageing_s"),
        ({"ageing_s": float("inf")}, "ageing_s"),
    ],
)
def test_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Settings(**settings)
    assert refused.value.field == named


@pytest.mark.parametrize(
    "settings, other",
    [
        ({"lease_s": 9, "heartbeat_s": 3}, "lease_s"),
        ({"beat_statement_s": 5.1}, "heartbeat_s"),
        ({"statement_s": 21}, "lease_s"),
        ({"lock_s": 11}, "statement_s"),
        ({"idle_s": 20}, "lease_s"),
        ({"stop_margin_s": 20}, "lease_s"),
        ({"reap_s": 20}, "lease_s"),
        ({"stall_s": 19}, "lease_s"),
    ],
)
def test_two_that_clash_are_both_named_with_a_remedy(settings: dict[str, Any], other: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Settings(**settings)
    words = str(refused.value)
    assert other in words
    assert "lower" in words or "raise" in words


@pytest.mark.parametrize(
    "lease_s, beat, statement, lock, idle, margin, reap",
    [(20, 3, 10, 2, 15, 4, 2), (4, 1, 4, 1, 3, 1, 0.4), (60, 3, 10, 2, 15, 4, 6)],
)
def test_lengths_follow_from_the_lease(
    lease_s: float, beat: float, statement: float, lock: float, idle: float, margin: float, reap: float
) -> None:
    it = Settings(lease_s=lease_s, heartbeat_s=lease_s / 4)
    usual = it.timeouts
    assert (usual.statement_s, usual.lock_s, usual.idle_s, usual.socket_s) == (statement, lock, idle, statement + 5)
    assert it.beat_timeouts.statement_s == beat
    assert it.beat_timeouts.idle_s < lease_s
    assert (it.margin_s, it.reap_every_s) == (margin, reap)


def test_accepted() -> None:
    made = Settings(workers=1, lease_s=0.3, heartbeat_s=0.09, limit=1, max_active_of={"w": 1}, grace_s=0)
    assert made.limits.max_running == 1
    assert Settings().heartbeat_s <= Settings().lease_s / 3
