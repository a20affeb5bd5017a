"""A user's tests of a workflow: fetch invoices, have the sum approved, pay, and retry while the bank is away.

Nothing is installed for them but Penstock and pytest: the fixture `lab` comes with Penstock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from penstock import Call, Fail, Finish, Outcome
from penstock.testing import Lab, step

INVOICES = {"2026-11": [120, 80], "2026-12": []}


class Bank:
    """Stands in for the bank. `away`: so many payments fail."""

    def __init__(self) -> None:
        self.away = 0
        self.paid: list[int] = []

    def pay(self, call: Call) -> Outcome:
        """The program of the last step."""
        if self.away:
            self.away -= 1
            return Fail("the bank does not answer")
        invoices: Mapping[str, Any] = call.results[1]
        self.paid.append(invoices["sum"])
        return Finish({"paid": invoices["sum"]})


def fetch_invoices(MONTH: str) -> dict[str, int]:
    """The program of the first step."""
    return {"sum": sum(INVOICES[MONTH]), "count": len(INVOICES[MONTH])}


@pytest.fixture
def bank(lab: Lab) -> Bank:
    """The workflow `pay-invoices`, with a bank that does as the test says."""
    made = Bank()
    lab.program("Pay")(made.pay)
    lab.define(
        "pay-invoices",
        fetch_invoices,
        step("Approval", {"PROMPT": "Pay?", "CANDIDATES": ["ann"]}),
        step("Pay", max_attempts=3, retry_delay_s=600),
    )
    return made


def test_nothing_is_paid_before_somebody_says_so(lab: Lab, bank: Bank) -> None:
    flow = lab.run("pay-invoices", {"MONTH": "2026-11"})
    assert flow["fetch_invoices"].result == {"sum": 200, "count": 2}
    lab.advance(days=30)
    assert bank.paid == []
    assert flow.why[0] == "2 Approval: it waits for an approval by ann"


def test_what_is_approved_is_paid(lab: Lab, bank: Bank) -> None:
    flow = lab.run("pay-invoices", {"MONTH": "2026-11"})
    lab.approve(flow, by="ann")
    assert flow.finished
    assert flow.result == {"paid": 200}
    assert bank.paid == [200]


def test_a_bank_that_is_away_is_asked_again(lab: Lab, bank: Bank) -> None:
    bank.away = 2
    flow = lab.run("pay-invoices", {"MONTH": "2026-11"})
    lab.approve(flow, by="ann")
    assert not flow.finished
    lab.advance(minutes=20)
    assert flow.finished
    assert bank.paid == [200]
    assert [attempt.error for attempt in flow["Pay"].attempts] == ["the bank does not answer"] * 2


def test_a_bank_that_stays_away_needs_a_person(lab: Lab, bank: Bank) -> None:
    bank.away = 3
    flow = lab.run("pay-invoices", {"MONTH": "2026-11"})
    lab.approve(flow, by="ann")
    lab.advance(hours=1)
    assert flow.suspended
    assert flow.why == ["3 Pay: it needs a person (failed): the bank does not answer"]
    lab.client.retry(flow.id, reason="the bank is back")
    lab.work()
    assert flow.finished


def test_a_month_that_is_not_there_says_so(lab: Lab, bank: Bank) -> None:
    flow = lab.run("pay-invoices", {"MONTH": "2027-01"})
    assert flow.suspended
    assert "KeyError: '2027-01'" in (flow[1].attempts[0].traceback or "")
