"""The story of one flow, in the order of time: what was asked, what the tables say, what programs did, and what the
nemesis did meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.chaos.history import History
from tests.chaos.records import Fault

AROUND_S = 3.0
MOST_LINES = 200
_STAMPS = ("registered_ts", "started_ts", "suspended_ts", "finished_ts")

Moment = tuple[float, str]


def tell(history: History, flow: str, seq: int | None = None) -> str:
    """The flow's story, or that of one task and those it depends on, as lines of text; times are seconds of the run."""
    moments = [
        *_requests(history, flow),
        *_rows(history, flow, seq),
        *_tries(history, flow, seq),
        *_events(history, flow, seq),
        *_effects(history, flow, seq),
    ]
    if not moments:
        return f"nothing is known of flow {flow}"
    first, last = min(moments)[0] - AROUND_S, max(moments)[0] + AROUND_S
    moments += [moment for fault in history.faults if fault.overlaps(first, last) for moment in _fault(fault)]
    for life in history.lives:
        if life.end is not None and first <= life.end <= last:
            words = f"{life.label} (pid {life.pid}) ended with {life.code}: {life.cause}"
            moments.append((life.end, words))
    start = min((life.begin for life in history.lives), default=first)
    lines = [f"{at - start:10.3f}  {words}" for at, words in sorted(moments)]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES} lines more"]
    return "\n".join([f"story of flow {flow}" + (f", task {seq}" if seq else ""), *lines])


def _requests(history: History, flow: str) -> Iterator[Moment]:
    """Requests in a row that were not answered are one line."""
    row = history.flows.get(flow)
    key = row["idempotency_key"] if row is not None else None
    in_vain = 0
    for request in sorted(history.requests, key=lambda item: item.sent):
        if request.flow != flow and (key is None or request.key != key):
            continue
        if request.status is None:
            in_vain += 1
            continue
        before = f", {in_vain} requests before it had no answer" if in_vain else ""
        took = request.answered - request.sent
        words = f"client asks {request.register} for key {request.key}: {request.status} after {took:.3f} s{before}"
        yield request.sent, words
        in_vain = 0


def _is_about(row: dict[str, Any], flow: str, seq: int | None) -> bool:
    return row["task_flow_id"] == flow and (seq is None or row["task_exec_seq"] == seq)


def _at(history: History, stamp: datetime | None) -> float:
    return history.monotonic(stamp) if stamp is not None else 0.0


def _rows(history: History, flow: str, seq: int | None) -> Iterator[Moment]:
    for row in history.rows["kr_task_stat"]:
        if _is_about(row, flow, seq):
            state = f"({row['exec_status']}, {row['wait_count']}) {row['reason'] or ''} claims {row['claims']}"
            for name in _STAMPS:
                if row[name] is not None:
                    yield _at(history, row[name]), f"row {row['task_exec_seq']}: {name}; it is now {state}"


def _tries(history: History, flow: str, seq: int | None) -> Iterator[Moment]:
    for row in history.rows["kr_task_attempt"]:
        if _is_about(row, flow, seq):
            name = f"claim {row['claim_no']} {row['claim_id']} of task {row['task_exec_seq']}"
            if row["claimed_ts"] is not None:
                yield _at(history, row["claimed_ts"]), f"{name} by watcher {row['watcher_id']}"
            if row["ended_ts"] is not None:
                yield _at(history, row["ended_ts"]), f"{name}: {row['outcome']}, accepted {row['accepted']}"


def _events(history: History, flow: str, seq: int | None) -> Iterator[Moment]:
    for row in history.rows["kr_event"]:
        if _is_about(row, flow, seq):
            yield _at(history, row["event_ts"]), f"event of task {row['task_exec_seq']}: {row['what']} {row['details']}"


def _effects(history: History, flow: str, seq: int | None) -> Iterator[Moment]:
    for effect in history.effects:
        if effect.flow == flow and seq in (None, effect.seq):
            how = f" ({effect.how})" if effect.how else ""
            yield (
                effect.mono,
                f"program of task {effect.seq}, pid {effect.pid}, claim {effect.claim}: {effect.what}{how}",
            )


def _fault(fault: Fault) -> Iterator[Moment]:
    pid = f" (pid {fault.pid})" if fault.pid is not None else ""
    yield fault.begin, f"NEMESIS {fault.kind} {fault.target}{pid}"
    if fault.end is not None and fault.span > 0.05:
        yield fault.end, f"NEMESIS {fault.kind} {fault.target}{pid} is over after {fault.span:.2f} s"
