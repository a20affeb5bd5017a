"""A rate as one time: against a plain model, over any stretch of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.limits.rates import Rate

START = datetime(2030, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_fresh_rate_lets_a_whole_period_start_at_once() -> None:
    rate = Rate.of(10, 2.0)
    assert rate.free(None, START) == 10
    assert rate.after(None, START, 10) == at(0.2)
    assert rate.free(at(0.2), at(0.199999)) == 0
    assert rate.free(at(0.2), at(0.2)) == 1
    assert rate.free(at(0.2), at(2.0)) == 10
    assert rate.free(at(0.2), at(9_999)) == 10


def test_a_time_far_ahead_is_of_another_rate_or_another_clock() -> None:
    rate = Rate.of(2, 1.0)
    assert rate.free(at(1_000_000), START) == 0
    assert rate.after(at(1_000_000), START, 0) == at(0.5)


@pytest.mark.parametrize("period_s", [1e-300, 1e300, float("inf"), float("nan")])
@pytest.mark.parametrize("count", [1, 7, 2**31 - 1])
def test_any_figure_that_a_database_lets_in_can_be_reckoned_with(count: int, period_s: float) -> None:
    rate = Rate.of(count, period_s)
    free = rate.free(None, START)
    assert free == count
    assert rate.after(None, START, 1) <= START + rate.step


@given(
    count=st.integers(1, 20),
    period_ms=st.integers(1, 5_000),
    asks=st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 30)), max_size=60),
)
def test_over_any_stretch_no_more_than_the_burst_and_the_rate(
    count: int, period_ms: int, asks: list[tuple[int, int]]
) -> None:
    rate = Rate.of(count, period_ms / 1000)
    free_at, now, begun = None, START, []
    for pause_ms, wanted in asks:
        now += timedelta(milliseconds=pause_ms)
        taken = min(wanted, rate.free(free_at, now))
        free_at = rate.after(free_at, now, taken)
        begun += [now] * taken
    for first, start in enumerate(begun):
        for last in range(first, len(begun)):
            stretch = (begun[last] - start) / timedelta(milliseconds=period_ms)
            assert last - first + 1 <= count + count * stretch + 1e-6


@given(count=st.integers(1, 20), period_ms=st.integers(1, 5_000))
def test_whoever_asks_all_the_time_gets_the_whole_rate(count: int, period_ms: int) -> None:
    rate = Rate.of(count, period_ms / 1000)
    free_at, now, begun = None, START, 0
    for _ in range(3 * count):
        taken = rate.free(free_at, now)
        begun += taken
        free_at = rate.after(free_at, now, taken)
        now = free_at
    assert begun >= 4 * count - 1
    assert now <= START + (3 * count + 1) * rate.step
