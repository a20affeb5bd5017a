"""How tasks ended: all of them (I4), by one accepted try (I5 to I8), with the right result, by legal moves (I23)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from json import loads

from engine.states import Status
from tests.chaos.history import History, Violation
from tests.chaos.shapes import BY_TASK_ID

CLOCK = timedelta(milliseconds=5)
"""What two readings of one clock may differ by where a database rounds them."""


def everything_ended(history: History) -> Iterator[Violation]:
    """I4: each flow that was accepted has finished, with every task of it."""
    for (flow, seq), row in history.witnessed.items():
        if row["exec_status"] != Status.FINISH:
            words = f"task {seq} of flow {flow} is {row['exec_status']} ({row['reason']}: {row['error']}), not finished"
            yield Violation("I4", words, flow, seq)
    for flow, row in history.flows.items():
        if row["task_id"] in BY_TASK_ID and row["flow_status"] != Status.FINISH:
            yield Violation("I4", f"flow {flow} is {row['flow_status']} ({row['reason']}), not finished", flow)


def one_try_was_accepted(history: History) -> Iterator[Violation]:
    """I5, I6: exactly one try of a finished task was accepted, and it was the last claim's."""
    for (flow, seq), row in history.witnessed.items():
        if row["exec_status"] != Status.FINISH:
            continue
        tries = history.attempts.get((flow, seq), [])
        accepted = [item for item in tries if item["accepted"] and item["outcome"] == "finished"]
        if len(accepted) != 1:
            words = f"task {seq} of flow {flow} has {len(accepted)} accepted tries, not one"
            yield Violation("I5", words, flow, seq)
        for item in accepted:
            if item["claim_id"] != row["claim_id"]:
                words = f"claim {item['claim_id']} of task {seq} of flow {flow} was accepted, the row names another"
                yield Violation("I6", words, flow, seq)
            if any(later["claim_no"] > item["claim_no"] for later in tries):
                words = f"task {seq} of flow {flow} was claimed again after claim {item['claim_id']} had finished it"
                yield Violation("I6", words, flow, seq)


def leases_did_not_overlap(history: History) -> Iterator[Violation]:
    """I7, I8: a task was claimed again only once the lease of the claim before had ended; numbers never repeat."""
    for (flow, seq), tries in history.attempts.items():
        for before, after in pairwise(item for item in tries if item["claim_no"] > 0):
            if after["claim_no"] == before["claim_no"]:
                words = f"claim number {after['claim_no']} of task {seq} of flow {flow} was given twice"
                yield Violation("I8", words, flow, seq)
            lease_end, claimed = before["lease_until_ts"], after["claimed_ts"]
            if before["outcome"] in ("lost", "stale") and lease_end and claimed and claimed < lease_end - CLOCK:
                words = f"task {seq} of flow {flow} was claimed at {claimed}, under a lease until {lease_end}"
                yield Violation("I7", words, flow, seq)


def results_are_right(history: History) -> Iterator[Violation]:
    """What came out of each task is what its parents' results add up to: nothing was lost or mixed up on the way."""
    number_of = {flow: loads(row["parameters"])["NUMBER"] for flow, row in history.flows.items() if row["parameters"]}
    totals = {}
    for (flow, seq), row in history.witnessed.items():
        shape = BY_TASK_ID.get(row["task_id"])
        if shape is None or row["exec_status"] != Status.FINISH or flow not in number_of:
            continue
        if (shape.name, flow) not in totals:
            totals[shape.name, flow] = shape.totals(number_of[flow])
        expected, found = totals[shape.name, flow][seq], loads(row["result"] or "null")
        if found != {"sum": expected}:
            words = f"task {seq} of flow {flow} returned {found}, its parents add up to {expected}"
            yield Violation("data", words, flow, seq)


def moves_were_legal(history: History) -> Iterator[Violation]:
    """I23: claims are 1..n, each with its end; nothing comes after a finish; no person has touched a row."""
    for (flow, seq), row in history.witnessed.items():
        numbers = [item["claim_no"] for item in history.attempts.get((flow, seq), ())]
        if numbers and numbers[-1] > row["claims"]:
            words = f"task {seq} of flow {flow} counts {row['claims']} claims, and has tries {numbers}"
            yield Violation("I23", words, flow, seq)
    for item in history.rows["kr_event"]:
        if item["actor"] != "watcher" and (item["task_flow_id"], item["task_exec_seq"]) in history.witnessed:
            words = f"{item['actor']} did {item['what']!r} to flow {item['task_flow_id']}, and nobody was asked to"
            yield Violation("I23", words, item["task_flow_id"], item["task_exec_seq"])


def invariants_hold(history: History) -> Iterator[Violation]:
    """What the queries over the tables found."""
    for name, rows in history.broken.items():
        for row in rows[:20]:
            flow = row[0] if row and row[0] in history.flows else None
            seq = row[1] if flow is not None and len(row) > 1 and isinstance(row[1], int) else None
            yield Violation(name.split()[0], f"{name}: {row}", flow, seq)
