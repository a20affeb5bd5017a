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
        ({"heartbeat_s": 0}, "heartbeat_s"),
        ({"queues": ()}, "queues"),
        ({"queues": ("a", "")}, "queues"),
        ({"queues": "default"}, "queues"),
        ({"max_losses": 0}, "max_losses"),
        ({"db_wait_s": -1}, "db_wait_s"),
        ({"ageing_s": -1}, "ageing_s"),
        ({"ageing_s": 0.5}, "ageing_s"),
        ({"ageing_s": float("inf")}, "ageing_s"),
    ],
)
def test_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Settings(**settings)
    assert refused.value.field == named


def test_accepted() -> None:
    made = Settings(workers=1, lease_s=0.3, heartbeat_s=0.09, limit=1, max_active_of={"w": 1}, grace_s=0)
    assert made.limits.max_running == 1
    assert Settings().heartbeat_s <= Settings().lease_s / 3
