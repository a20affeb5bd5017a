"""What the clients answer with: the documents of the API (docs/api.md) as frozen objects with real types.

The members are the columns under their own names; docs/tables.md says what each means. What a later service says beyond
them is kept and can be read as an attribute, so that a client need not be as new as its service.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from engine.states import Status

__all__ = [
    "Attempt",
    "Bulk",
    "Cause",
    "Command",
    "Counters",
    "Edge",
    "Event",
    "Flow",
    "FlowId",
    "FlowWhy",
    "Limit",
    "Log",
    "MadeToken",
    "ManyRegistered",
    "Minute",
    "Principal",
    "Program",
    "Queue",
    "Sent",
    "Status",
    "Task",
    "TaskWhy",
    "Token",
    "Wait",
    "Watcher",
    "WorkflowApplied",
    "WorkflowListed",
    "WorkflowRead",
    "WorkflowVersion",
    "WorkflowVersionRead",
]
M = TypeVar("M", bound="Model")


def _status(value: Any) -> Any:
    return Status.__members__.get(value, value) if isinstance(value, str) else value


StatusName = Annotated[Status | str, BeforeValidator(_status)]
"""A member of `Status`; a text only for a number that a person wrote into a row and that is no status."""


class FlowId(str):
    """The id of a flow that a registration made, a text like any other. `replayed` is true if an earlier request with
    the same idempotency key had made it."""

    replayed: bool

    def __new__(cls, text: str, replayed: bool = False) -> FlowId:
        made = super().__new__(cls, text)
        made.replayed = replayed
        return made


class Model(BaseModel):
    """A document of the API; unknown members are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    @classmethod
    def of(cls: type[M], document: Mapping[str, Any]) -> M:
        """Errors: pydantic's ValidationError, for what no service of Penstock says."""
        return cls.model_validate(document)


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


class Wait(Model):
    """Something that a task awaits, or has awaited."""

    wait_id: str
    task_flow_id: str
    task_exec_seq: int
    kind: str
    """timer, message, approval, form, callback, poke, flow or turn."""
    name: str | None = None
    correlation_key: str | None = None
    state: str
    """open, arrived, expired or cancelled."""
    details: Any = None
    payload: Any = None
    created_ts: datetime
    due_ts: datetime | None = None
    closed_ts: datetime | None = None
    closed_by: str | None = None

    @property
    def is_open(self) -> bool:
        return self.state == "open"


class Log(Model):
    """What one try of a task has logged; `outcome` is None while it runs."""

    claim_id: str
    claim_no: int | None = None
    outcome: str | None = None
    text: str


class Event(Model):
    """Something that happened."""

    event_id: int
    event_ts: datetime
    task_flow_id: str | None = None
    task_exec_seq: int | None = None
    what: str
    actor: str | None = None
    details: Any = None


class Queue(Model):
    """A queue: what waits and runs in it, who serves it, and what holds it back."""

    queue: str
    ready: int
    """Counted up to 10,000."""
    ready_is_more: bool
    running: int
    watchers: int
    """Live ones that serve it."""
    max_running: int | None = None
    rate: int | None = None
    rate_period_s: float | None = None
    paused_ts: datetime | None = None
    paused_by: str | None = None
    paused_reason: str | None = None


class Limit(Model):
    """How many tasks may run at once or start in a period; or a pause."""

    scope: str
    """workflow, queue or key."""
    name: str
    max_running: int | None = None
    rate: int | None = None
    rate_period_s: float
    paused_ts: datetime | None = None
    paused_by: str | None = None
    paused_reason: str | None = None


class Watcher(Model):
    """A watcher that lives, or has died within a day."""

    watcher_id: str
    label: str | None = None
    host: str | None = None
    pid: int | None = None
    queues: tuple[str, ...] = ()
    slots: int
    state: str
    started_ts: datetime
    beat_ts: datetime
    lease_until_ts: datetime
    programs: Any = None
    """Names of the programs that it has; None: it has not said."""
    wanted: str | None = None
    lives: bool
    running: int
    """Tasks that it runs."""


class Command(Model):
    """Something that an operator asked for, and what became of it."""

    command_id: int
    verb: str
    subject: str | None = None
    arguments: Any = None
    reason: str | None = None
    asked_by: str | None = None
    asked_ts: datetime | None = None
    door: str
    address: str | None = None
    request_id: str | None = None
    handled_ts: datetime | None = None
    handled_by: str | None = None
    outcome: str | None = None
    """done or refused; None while it waits for a watcher."""
    answer: Any = None


class Token(Model):
    """Who may ask over HTTP; the token itself is shown once, when it is made."""

    token_id: str
    name: str
    kind: str
    """api, or session of a browser."""
    role: str
    workflows: tuple[str, ...] | None = None
    """Ids of workflows, or how they begin and a `*`; None: all."""
    created_ts: datetime
    created_by: str | None = None
    expires_ts: datetime | None = None
    revoked_ts: datetime | None = None
    revoked_by: str | None = None
    used_ts: datetime | None = None
    parent_id: str | None = None
    """Of a session: the token that it was begun with."""
    principal: str | None = None
    """Of a session: the person who logged in."""
    is_live: bool


class MadeToken(Model):
    """A token that was just made."""

    token: str
    """The secret: nobody can read it again."""
    token_id: str
    name: str
    role: str
    workflows: tuple[str, ...] | None = None


class Principal(Model):
    """A person who logs in elsewhere, and what that person may do here."""

    name: str
    role: str
    workflows: tuple[str, ...] | None = None
    created_ts: datetime | None = None
    disabled_ts: datetime | None = None


class Cause(Model):
    """One thing that keeps a task where it is."""

    cause: str
    """A stable word (docs/sql.md)."""
    what: str
    unblocks: str
    """What would let it go on, for people."""
    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


class TaskWhy(Model):
    """Why a task is where it is."""

    task_flow_id: str
    task_exec_seq: int
    task_id: str
    task_seq: int
    name: str | None = None
    program: str | None = None
    queue: str
    status: StatusName
    reason: str | None = None
    words: str
    """Where it is, in a line."""
    hidden: int
    """Causes that were left out."""
    causes: tuple[Cause, ...] = ()
    roots: tuple[TaskWhy, ...] = ()
    """Of a task that was asked about alone: what lies at the bottom."""


class FlowWhy(Model):
    """A flow, and what its open tasks wait for."""

    task_flow_id: str
    task_id: str | None = None
    status: Status | str | None = None
    reason: str | None = None
    words: str
    tasks: tuple[TaskWhy, ...] = ()
    more: bool
    """Other tasks are open, too."""

    @field_validator("status", mode="before")
    @classmethod
    def _read_status(cls, value: Any) -> Any:
        return _status(value)


class WorkflowListed(Model):
    """A workflow in a list."""

    task_id: str
    description: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    changed_ts: datetime | None = None
    changed_by: str | None = None
    version_id: str | None = None
    """None if it cannot run."""
    problem: str | None = None
    """Why it cannot run."""
    live_flows: int
    """Flows under way, counted up to 1,000."""
    last_flow: str | None = None


class WorkflowRead(Model):
    """A workflow as a document (docs/workflow-files.md)."""

    document: dict[str, Any]
    version_id: str
    stamp: str
    """What `if_version` takes: it changes whenever the workflow does."""
    changed_ts: datetime | None = None
    changed_by: str | None = None
    source_format: str | None = None


class WorkflowVersion(Model):
    """A version that is kept."""

    version_id: str
    created_ts: datetime
    is_current: bool
    """Flows are made from it now."""


class WorkflowVersionRead(WorkflowVersion):
    """A version, as a document with every edge that it has."""

    document: dict[str, Any]


class WorkflowApplied(Model):
    """A workflow as it is now, or would be (`dry_run`)."""

    task_id: str
    version_id: str
    stamp: str
    was: str | None = None
    """The version before."""
    is_new: bool
    changes: dict[str, Any]


class Program(Model):
    """A program that is installed where the service runs."""

    name: str
    description: str
    executor: str
    parameters: dict[str, Any]
    """JSON schema."""
    plugin: str
    version: str


class Counters(Model):
    """What is in play; a count ends at 100,000, and stands in `more` then."""

    flows_wait: int
    flows_running: int
    flows_suspend: int
    tasks_ready: int
    tasks_running: int
    tasks_suspended: int
    watchers: int
    more: tuple[str, ...] = ()


class Minute(Model):
    """What one minute brought; lengths of time are seconds from registration to end."""

    minute_ts: datetime
    registered: int
    finished: int
    ignored: int
    mean_s: float | None = None
    longest_s: float | None = None


class Bulk(Model):
    """What a verb in bulk found (`dry_run`), or did."""

    dry_run: bool
    flows: int
    tasks: int
    statuses: dict[int, int] = Field(default_factory=dict)
    """Of these tasks, by the status that they had."""
    refused: dict[str, str] = Field(default_factory=dict)
    """Flows that the verb does not fit, each with why."""
    is_cut: bool = False
    """There are more flows than the limit, left alone."""


class Sent(Model):
    """A message that was sent, and the wait that it went to; None while nobody awaits it."""

    message_id: str
    wait_id: str | None = None


class Refusal(Model):
    """A registration among many that was refused: its place, from 0, and why."""

    index: int
    kind: str
    detail: str


class ManyRegistered(Model):
    """What became of many registrations."""

    registered: int
    refused: int
    task_flow_ids: tuple[str | None, ...] = ()
    """In their order; None where one was refused."""
    problems: tuple[Refusal, ...] = ()
    """The first of those that were refused."""
