"""The checker: every check reads a History and yields what must not be. Nothing here asks the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tests.chaos.checks import executions, order, outcomes, registrations, remains
from tests.chaos.history import History, Violation

CHECKS: Final[tuple[Callable[[History], Iterator[Violation]], ...]] = (
    registrations.acknowledged_runs_exist,
    registrations.nobody_else_registers,
    registrations.copies_are_whole,
    registrations.keys_are_single,
    registrations.refusals_were_temporary,
    outcomes.everything_ended,
    outcomes.one_try_was_accepted,
    outcomes.leases_did_not_overlap,
    outcomes.results_are_right,
    outcomes.moves_were_legal,
    outcomes.invariants_hold,
    order.parents_came_first,
    order.caps_were_kept,
    executions.effects_and_tries_agree,
    executions.duplicates_are_explained,
    executions.one_execution_per_claim,
    executions.intervals_are_disjoint,
    remains.exits_were_asked_for,
    remains.nothing_is_left,
    remains.logs_are_readable,
    remains.poison_is_contained,
)


def check(history: History) -> list[Violation]:
    """Everything that must not be, in the order of the checks; empty for a clean run."""
    return [violation for one in CHECKS for violation in one(history)]
