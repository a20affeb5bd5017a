"""What the API answers, as pydantic models: it is described by them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from engine.flows import MAX_ID, MAX_TAG
from engine.queries.pages import MAX_PAGE
from engine.tables import command, event, limit, wait, watcher
from register.api.parts import Instant, PageQuery, Query
from register.models import Flow, StatusNumber, Task
from register.row_models import row_model

Event = row_model("Event", event, set())
Wait = row_model("Wait", wait, set())
Limit = row_model("Limit", limit, set())
Watcher = row_model("Watcher", watcher, set(), lives=(bool, ...), running=(int, ...))


class Changes(BaseModel):
    """What a command changed: the columns that differ; null for what was not there, or is there no more."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None


Command = row_model("Command", command, {"changes"}, changes=(Changes | None, ...))


def _page(name: str, of: Any, members: str) -> type[BaseModel]:
    fields: dict[str, Any] = {
        members: (list[of], ...),
        "next": (str | None, Field(description="`cursor` of the next page")),
    }
    return create_model(name, **fields)


Events = _page("Events", Event, "events")
Waits = _page("Waits", Wait, "waits")
Commands = _page("Commands", Command, "commands")
Flows = _page("Flows", Flow, "flows")
Tasks = _page("Tasks", Task, "tasks")
Failures = create_model("Failures", tasks=(list[Task], ...))  # type: ignore[valid-type]
Limits = create_model("Limits", limits=(list[Limit], ...))  # type: ignore[valid-type]
Watchers = create_model("Watchers", watchers=(list[Watcher], ...))  # type: ignore[valid-type]
FlowRead = create_model("FlowRead", __base__=Flow, tags=(list[str], ...))


class Edge(BaseModel):
    """`task_exec_seq` runs after `depends_task_exec_seq`; all else is null for a plain edge."""

    task_exec_seq: int
    depends_task_exec_seq: int
    kind: str | None
    only_if: str | None
    is_default: bool | None
    max_iterations: int | None
    outcome: str | None


Edges = _page("Edges", Edge, "edges")


class Queue(BaseModel):
    """A queue: what waits and runs in it, who serves it, and what holds it back."""

    queue: str
    ready: int = Field(description="counted up to 10,000")
    ready_is_more: bool
    running: int
    watchers: int = Field(description="live ones that serve it")
    max_running: int | None
    rate: int | None
    rate_period_s: float | None
    paused_ts: str | None
    paused_by: str | None
    paused_reason: str | None


class Queues(BaseModel):
    queues: list[Queue]


class Log(BaseModel):
    claim_id: str
    claim_no: int | None
    outcome: str | None = Field(description="null while the try runs")
    text: str


class Logs(BaseModel):
    """What the tries of a task have logged."""

    logs: list[Log]


class Result(BaseModel):
    result: Any


class Waiting(BaseModel):
    """What awaits what: the open and the closed waits of a flow or a task."""

    waits: list[Any]


class Cause(BaseModel):
    """One thing that keeps a task where it is."""

    cause: str = Field(description="a stable word: docs/sql.md lists them")
    what: str
    unblocks: str = Field(description="what would let it go on, for people")
    by: str | None
    since: str | None
    until: str | None
    facts: dict[str, Any]


class TaskWhy(BaseModel):
    task_flow_id: str
    task_exec_seq: int
    task_id: str
    task_seq: int
    name: str | None
    program: str | None
    queue: str
    status: str
    reason: str | None
    words: str = Field(description="where it is, in a line")
    hidden: int = Field(description="causes that were left out")
    causes: list[Cause]
    roots: list[TaskWhy] = Field(description="of a task that was asked about alone: what lies at the bottom")


class FlowWhy(BaseModel):
    """A flow, and what its open tasks wait for."""

    task_flow_id: str
    task_id: str | None
    status: str | None
    reason: str | None
    words: str
    tasks: list[TaskWhy]
    more: bool = Field(description="other tasks are open, too")


class Program(BaseModel):
    """A program that is installed where the service runs."""

    name: str
    description: str
    executor: str
    parameters: dict[str, Any] = Field(description="JSON schema")
    plugin: str
    version: str


class Programs(BaseModel):
    programs: list[Program]


class Counters(BaseModel):
    """What is in play; a count ends at 100,000, and stands in `more` then."""

    flows_wait: int
    flows_running: int
    flows_suspend: int
    tasks_ready: int
    tasks_running: int
    tasks_suspended: int
    watchers: int
    more: list[str]


class Minute(BaseModel):
    minute_ts: str
    registered: int
    finished: int
    ignored: int
    mean_s: float | None = Field(description="from registration to end")
    longest_s: float | None


class Series(BaseModel):
    """Minutes that brought something, oldest first."""

    minutes: list[Minute]


class CommandAnswer(BaseModel):
    """As the row of kr_command says it."""

    outcome: Literal["done"]
    verb: str
    subject: str | None
    answer: dict[str, Any]


class FlowsQuery(PageQuery):
    """Which flows."""

    task_id: str | None = Field(default=None, min_length=1, max_length=MAX_ID, description="of this workflow")
    status: StatusNumber | None = None
    run_key: str | None = Field(default=None, min_length=1, max_length=MAX_ID)
    tag: str | None = Field(default=None, min_length=1, max_length=MAX_TAG)
    registered_after: Instant | None = Field(default=None, description="at this time or later")
    registered_before: Instant | None = None
    text: str | None = Field(
        default=None, min_length=1, max_length=MAX_ID, description="found in ids, run key or reason, whatever its case"
    )


class TasksQuery(PageQuery):
    """Which tasks of a flow."""

    status: StatusNumber | None = None


class FailuresQuery(Query):
    """How many suspended tasks."""

    limit: int = Field(50, ge=1, le=MAX_PAGE)


class RecordsQuery(PageQuery):
    """Which records, and in which order."""

    after: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="behind this number, oldest first; 0 is from the beginning"
    )


class EventsQuery(RecordsQuery):
    """Which events."""

    flow_id: str | None = Field(default=None, min_length=1, max_length=MAX_ID)


class StreamQuery(Query):
    """Which events are followed."""

    flow_id: str | None = Field(default=None, min_length=1, max_length=MAX_ID)
    after: int | None = Field(default=None, ge=0, le=2**63 - 1, description="the last event that is known already")


class CommandsQuery(RecordsQuery):
    """Which commands."""

    subject: str | None = Field(default=None, min_length=1, max_length=MAX_ID)


class WaitsQuery(PageQuery):
    """Which open waits."""

    kind: Literal["approval", "form", "message", "callback", "timer", "flow"] | None = Field(
        default=None, description="approvals and forms, unless another kind is named"
    )


class SeriesQuery(Query):
    """Which minutes."""

    limit: int = Field(60, ge=1, le=1_440)
    after: Instant | None = None
    before: Instant | None = None
    task_id: str | None = Field(default=None, min_length=1, max_length=MAX_ID)
