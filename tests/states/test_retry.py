"""The arithmetic of retry rules."""

from __future__ import annotations

import pytest

from engine.retry import COLUMNS, LONGEST_DELAY_S, NO_RETRY, RetryRule, problem_with, rule_of


def test_without_a_rule_there_is_one_attempt() -> None:
    assert rule_of(dict.fromkeys(COLUMNS)) == NO_RETRY
    assert not NO_RETRY.allows_after(1)


def test_max_attempts_counts_the_first_one() -> None:
    rule = RetryRule(max_attempts=3)
    assert [rule.allows_after(attempt) for attempt in (1, 2, 3, 4)] == [True, True, False, False]


def test_fixed_and_growing_delays() -> None:
    assert [RetryRule(delay_s=5).delay_after(n) for n in (1, 2, 3)] == [5, 5, 5]
    assert [RetryRule(delay_s=1, backoff=2).delay_after(n) for n in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert [RetryRule(delay_s=1, backoff=10, max_delay_s=50).delay_after(n) for n in (1, 2, 3)] == [1, 10, 50]


def test_delays_never_overflow() -> None:
    assert RetryRule(delay_s=1, backoff=1e9).delay_after(10_000) == LONGEST_DELAY_S
    assert RetryRule(delay_s=1e300, max_delay_s=1e300).delay_after(1) == LONGEST_DELAY_S


def test_jitter_leaves_out_a_share_at_most() -> None:
    delays = [RetryRule(delay_s=10, jitter=0.5).delay_after(1) for _ in range(200)]
    assert all(5 <= delay <= 10 for delay in delays)
    assert len({round(delay, 3) for delay in delays}) > 50


@pytest.mark.parametrize(
    "column, value",
    [
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("max_attempts", True),
        ("retry_delay_s", -1),
        ("retry_delay_s", float("nan")),
        ("retry_delay_s", "soon"),
        ("retry_backoff", 0.9),
        ("retry_jitter", 1.1),
        ("retry_max_delay_s", float("inf")),
    ],
)
def test_bad_numbers_are_named_and_fall_back_to_the_default(column: str, value: object) -> None:
    problem = problem_with(column, value)
    assert problem is not None
    assert problem.startswith(column)
    assert rule_of({**dict.fromkeys(COLUMNS), column: value}) == NO_RETRY
