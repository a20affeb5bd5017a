"""What was asked for is there, once, and nothing else: I1, I2, I3, I16."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.chaos.history import History, Violation
from tests.chaos.poison import PREFIX
from tests.chaos.shapes import BY_TASK_ID


def acknowledged_runs_exist(history: History) -> Iterator[Violation]:
    """I1: no acknowledged run is lost, and every key was answered in the end."""
    for key, flows in history.acknowledged.items():
        for flow in flows - history.flows.keys():
            yield Violation("I1", f"flow {flow} was acknowledged for key {key}, and does not exist", flow)
    for key in history.unanswered:
        yield Violation("I1", f"key {key} was never answered, though everything had been mended")


def nobody_else_registers(history: History) -> Iterator[Violation]:
    """I2: no run that nobody asked for."""
    sent = {request.key for request in history.requests}
    for flow, row in history.flows.items():
        if not flow.startswith(f"{PREFIX}-") and row["idempotency_key"] not in sent:
            yield Violation("I2", f"flow {flow} has key {row['idempotency_key']!r}, which nobody sent", flow)


def copies_are_whole(history: History) -> Iterator[Violation]:
    """I3: a flow has the tasks of its workflow, 1..n, each after those that it was drawn after."""
    numbers = Counter(flow for flow, _ in history.tasks)
    for flow, row in history.flows.items():
        shape = BY_TASK_ID.get(row["task_id"])
        if shape is None:
            continue
        if numbers[flow] != shape.size or any((flow, seq) not in history.tasks for seq in range(1, shape.size + 1)):
            yield Violation("I3", f"flow {flow} has {numbers[flow]} tasks, its workflow {shape.size}", flow)
    for flow in numbers.keys() - history.flows.keys():
        yield Violation("I3", f"there are tasks of flow {flow}, but no such flow", flow)


def keys_are_single(history: History) -> Iterator[Violation]:
    """I16: one run for each key, and each answer to a key names it."""
    counted = Counter(row["idempotency_key"] for row in history.flows.values() if row["idempotency_key"])
    for key, count in counted.items():
        if count > 1:
            yield Violation("I16", f"key {key} made {count} flows")
    for key, flows in history.acknowledged.items():
        if len(flows) > 1:
            yield Violation("I16", f"key {key} was answered with {len(flows)} flows: {sorted(flows)}", min(flows))


def refusals_were_temporary(history: History) -> Iterator[Violation]:
    """A register that cannot answer says 503, and nothing else."""
    for request in history.requests:
        if request.status not in (None, 200, 503):
            words = f"{request.register} answered {request.status} to key {request.key}: {request.error}"
            yield Violation("answers", words)
