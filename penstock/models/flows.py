"""Flows, their tasks and tries, what runs after what, and what was logged."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from engine.states import Status
from penstock.models.base import Model, StatusName


class Flow(Model):
    """One run of a workflow. Times are aware datetimes, and None until they come to pass."""

    task_flow_id: str
    task_id: str
    """The workflow."""
    flow_status: int
    status: StatusName
    """`flow_status` as a member of Status: WAIT nothing begun, RUNNING begun, SUSPEND a task is suspended, FINISH every
    task finished or ignored, IGNORE ended otherwise (see `reason`)."""
    flow_priority: int | None = None
    parameters: Any = None
    run_key: str | None = None
    task_count: int
    finish_count: int
    ignore_count: int
    suspend_count: int
    registered_ts: datetime | None = None
    started_ts: datetime | None = None
    finished_ts: datetime | None = None
    version_id: str | None = None
    """The version of the definition that it was made from."""
    reason: str | None = None
    failure_policy: str | None = None
    deadline_ts: datetime | None = None
    parent_flow_id: str | None = None
    parent_exec_seq: int | None = None
    rerun_of: str | None = None
    closing: int | None = None
    result: Any = None
    """What its workflow's `result_mapping` worked out; see `Client.result` for the result of any flow."""
    registered_by: str | None = None
    tags: tuple[str, ...] = ()
    """In the order of the alphabet; lists of flows leave them out."""

    @property
    def id(self) -> str:
        return self.task_flow_id

    @property
    def has_finished(self) -> bool:
        return self.status == Status.FINISH

    @property
    def has_ended(self) -> bool:
        """Finished, or cancelled, or out of its time, and nothing is left to be done about it."""
        return self.status in (Status.FINISH, Status.IGNORE) and self.closing != 1


class Attempt(Model):
    """A try of a task that is kept: one that failed, was lost or logged."""

    claim_id: str
    claim_no: int
    watcher_id: str | None = None
    outcome: str
    """finished, failed, again, released, lost, stale, `by hand`."""
    accepted: bool
    """Did this try settle the task?"""
    claimed_ts: datetime | None = None
    ended_ts: datetime | None = None
    lease_until_ts: datetime | None = None
    error: str | None = None
    traceback: str | None = None
    log: str | None = None
    generation: int
    result: Any = None


class Task(Model):
    """One task of a flow, with its predecessors and its kept tries."""

    task_flow_id: str
    task_exec_seq: int
    depends_task_exec_seq: int
    task_id: str
    task_seq: int
    exec_status: int
    status: StatusName
    """`exec_status` as a member of Status."""
    task_priority: int
    parameters: Any = None
    registered_ts: datetime | None = None
    started_ts: datetime | None = None
    finished_ts: datetime | None = None
    suspended_ts: datetime | None = None
    program: str | None = None
    queue: str
    wait_count: int | None = None
    """How many things a waiting task still awaits."""
    reason: str | None = None
    due_ts: datetime | None = None
    """Not before this time."""
    claims: int
    attempt: int
    losses: int
    owner: str | None = None
    claim_id: str | None = None
    result: Any = None
    error: str | None = None
    max_attempts: int | None = None
    retry_delay_s: float | None = None
    retry_backoff: float | None = None
    retry_max_delay_s: float | None = None
    retry_jitter: float | None = None
    name: str | None = None
    trigger_rule: str | None = None
    timeout_s: float | None = None
    limit_key: str | None = None
    input_mapping: str | None = None
    output_mapping: str | None = None
    phase: str | None = None
    templates: str | None = None
    made_by_exec_seq: int | None = None
    iteration: int
    generation: int
    aged: int
    executor: str | None = None
    is_exclusive: bool | None = None
    depends: tuple[int, ...] = ()
    """Run numbers of all predecessors."""
    attempts: tuple[Attempt, ...] = ()

    @property
    def seq(self) -> int:
        return self.task_exec_seq

    @property
    def title(self) -> str:
        """The step's name, or its program."""
        return self.name or self.program or f"step {self.task_seq}"

    @property
    def has_finished(self) -> bool:
        return self.status == Status.FINISH


class Edge(Model):
    """`task_exec_seq` runs after `depends_task_exec_seq`; all else is None for a plain edge."""

    task_exec_seq: int
    depends_task_exec_seq: int
    kind: str | None = None
    only_if: str | None = None
    is_default: bool | None = None
    max_iterations: int | None = None
    outcome: str | None = None


class Log(Model):
    """What one try of a task has logged; `outcome` is None while it runs."""

    claim_id: str
    claim_no: int | None = None
    outcome: str | None = None
    text: str
