"""What remote workers send and are sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from engine import task_logs
from engine.keys import Fence
from engine.remote import outcomes
from engine.remote.claiming import MAX_AT_ONCE

MAX_WAIT_S = 25.0
MAX_HELD = 2_000
"""Claims that a worker holds at once."""
MAX_QUEUES = 1024
"""Characters of all queues of a worker, with the commas between them."""
Id = Annotated[StrictStr, Field(min_length=1, max_length=256)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=256)]
Queue = Annotated[StrictStr, Field(min_length=1, max_length=64, pattern=r"^[^,\x00]+$")]
Seconds = Annotated[StrictFloat | StrictInt, Field(ge=0, le=1e9)]
Text = Annotated[StrictStr, Field(max_length=task_logs.MAX_PART)]


class Said(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WorkerEnlist(Said):
    """A worker that comes."""

    programs: list[Name] = Field(min_length=1, max_length=1_000, description="whose tasks it runs")
    queues: list[Queue] = Field(default=["default"], min_length=1, max_length=100)
    slots: Annotated[StrictInt, Field(ge=1, le=MAX_HELD)] = Field(1, description="tasks that it runs at once")
    lease_s: Annotated[StrictFloat | StrictInt, Field(ge=1, le=86_400)] = Field(
        20.0, description="seconds of silence after which its tasks go to others"
    )
    host: Name = Field("unknown", description="where it runs, for people")
    label: StrictStr = Field("", max_length=256, description="a name for people to know it by")
    pid: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] | None = None

    @field_validator("queues")
    @classmethod
    def _fit(cls, queues: list[str]) -> list[str]:
        if len(",".join(queues)) > MAX_QUEUES:
            raise ValueError(f"their names are more than {MAX_QUEUES} characters")
        return list(dict.fromkeys(queues))


class WorkerEnlisted(BaseModel):
    worker_id: str
    lease_s: float
    beat_s: float = Field(description="how often it should beat, in seconds")


class WorkClaim(Said):
    """A claim of a task, as it was handed out: what a worker sends back with all that it says of the task."""

    flow_id: Id
    exec_seq: Annotated[StrictInt, Field(ge=1, le=2**63 - 1)]
    claim_id: Annotated[StrictStr, Field(min_length=1, max_length=36)]
    attempt: Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]

    @property
    def fence(self) -> Fence:
        return Fence(self.flow_id, self.exec_seq, self.claim_id)


class WorkerBeat(Said):
    holding: list[WorkClaim] | None = Field(
        None,
        max_length=MAX_HELD,
        description="every claim that the worker holds; what it does not name goes back to waiting after a minute",
    )


class WorkerBeaten(BaseModel):
    lease_s: float
    lost: list[dict[str, Any]] = Field(
        description="claims of `holding` that are no longer the worker's: stop them, and settle nothing"
    )
    drain: bool = Field(description="an operator wants the worker to finish what it runs, and to end")


class WorkWanted(Said):
    max: Annotated[StrictInt, Field(ge=1, le=MAX_AT_ONCE)] = 1
    wait_s: Annotated[StrictFloat | StrictInt, Field(ge=0, le=MAX_WAIT_S)] = Field(
        0, description="seconds to wait for work, if there is none"
    )
    request: Annotated[StrictStr, Field(min_length=1, max_length=64)] | None = Field(
        None, description="a new text for each request: the same request again is answered with the same tasks"
    )
    exclusive: StrictBool = Field(
        False, description="also tasks that may not run twice at once: the worker ends them when its lease does"
    )


class Work(BaseModel):
    """A task to run."""

    claim: WorkClaim
    task_id: str
    task_seq: int
    name: str | None
    program: str
    parameters: dict[str, Any] = Field(description="the task's own, and beneath them the flow's")
    from_flow: list[str] = Field(description="names in `parameters` that only the flow gives")
    secrets: dict[str, Any] = Field(
        description='parameters in which {"$secret": ...} refers to a secret, which the worker looks up where it runs'
    )
    flow_parameters: dict[str, Any]
    fence: int = Field(description="larger with every claim of the task")
    timeout_s: float | None = Field(description="seconds that a try may take")
    exclusive: bool


class Works(BaseModel):
    tasks: list[Work]
    lease_s: float
    drain: bool


class Settles(Said):
    claim: WorkClaim
    log: Annotated[StrictStr, Field(max_length=task_logs.MAX_KEPT)] | None = Field(
        None, description="what the try has logged since the last part that was sent"
    )


class FinishWork(Settles):
    outcome: Literal["finish"]
    result: Any = None

    def made(self) -> outcomes.Outcome:
        return outcomes.Finish(self.result)


class FailWork(Settles):
    outcome: Literal["fail"]
    error: StrictStr = Field(min_length=1)
    retry: StrictBool = Field(True, description="false: another try would fail in the same way")
    traceback: StrictStr | None = None
    timed_out: StrictBool = Field(False, description="it took longer than `timeout_s`")
    refused: Literal["bad parameters", "bad result"] | None = Field(
        None, description="it cannot run as it stands: a person must look at it"
    )

    def made(self) -> outcomes.Outcome:
        return outcomes.Fail(self.error, self.retry, self.traceback, self.timed_out, self.refused)


class AgainWork(Settles):
    outcome: Literal["again"]
    after: Seconds | None = Field(None, description="seconds from now")
    at: AwareDatetime | None = None
    timeout: Seconds | None = Field(None, description="seconds from the first `again` after which the task fails")

    @model_validator(mode="after")
    def _one_of_them(self) -> AgainWork:
        if (self.after is None) == (self.at is None):
            raise ValueError("takes either `after` or `at`")
        return self

    def made(self) -> outcomes.Outcome:
        return outcomes.Again(float(self.after or 0), self.at, None if self.timeout is None else float(self.timeout))


class ChooseWork(Settles):
    outcome: Literal["choose"]
    steps: list[StrictInt | Name] = Field(max_length=10_000, description="names of steps, or their task_seq")
    result: Any = None

    def made(self) -> outcomes.Outcome:
        return outcomes.Choose(tuple(dict.fromkeys(self.steps)), self.result)


class AwaitWork(Settles):
    outcome: Literal["await"]
    kind: Literal["timer", "message", "approval", "form", "callback", "flow"]
    name: Name | None = None
    key: Name | None = None
    until: Seconds | AwareDatetime | None = Field(None, description="seconds from now, or a time with its zone")
    details: dict[str, Any] = {}

    @model_validator(mode="after")
    def _whole(self) -> AwaitWork:
        needed = {"timer": ("until",), "message": ("name", "key"), "callback": ("key",)}
        for part in needed.get(self.kind, ("name",)):
            if getattr(self, part) is None:
                raise ValueError(f"a wait for a {self.kind} needs `{part}`")
        return self

    def made(self) -> outcomes.Outcome:
        until = float(self.until) if isinstance(self.until, int | float) else self.until
        return outcomes.Await(self.kind, self.name, self.key, until, self.details)


class PlannedTask(Said):
    program: Name
    parameters: dict[str, Any] = {}
    name: StrictStr | None = None
    after: list[StrictInt | StrictStr] = Field(default=[], description="names, or places in the plan from 0")
    priority: StrictInt | None = None
    options: dict[str, Any] = Field(default={}, description="columns of ms_task_option")

    def made(self) -> outcomes.Task:
        return outcomes.Task(self.program, self.parameters, self.name, self.after, self.priority, self.options)


class PlanWork(Settles):
    outcome: Literal["plan"]
    tasks: list[PlannedTask]
    result: Any = None
    join: StrictBool = True

    def made(self) -> outcomes.Outcome:
        return outcomes.Plan([task.made() for task in self.tasks], self.result, self.join)


class ReleaseWork(Settles):
    """The task was not begun, or interrupted: it goes back to waiting, and that counts as no try."""

    outcome: Literal["release"]

    def made(self) -> outcomes.Outcome:
        return outcomes.Release()


AnyOutcome = Annotated[
    FinishWork | FailWork | AgainWork | ChooseWork | AwaitWork | PlanWork | ReleaseWork,
    Field(discriminator="outcome"),
]


class SettleBatch(RootModel[Annotated[list[AnyOutcome], Field(min_length=1, max_length=MAX_AT_ONCE)]]):
    """What became of claims, each once."""


class OneSettled(BaseModel):
    flow_id: str
    exec_seq: int
    claim_id: str
    answer: Literal["settled", "stale", "misfit"] = Field(
        description="stale: another claim, or a person, has the task; misfit: that is no claim of this task"
    )


class AllSettled(BaseModel):
    """In the order of the request."""

    answers: list[OneSettled]


class WorkLogPart(Said):
    claim: WorkClaim
    text: Text


class WorkLog(Said):
    parts: list[WorkLogPart] = Field(min_length=1, max_length=100)


class WorkLogKept(BaseModel):
    left_out: list[int | None] = Field(
        description="characters that were left out of each part; null: the worker does not hold that claim"
    )


class WorkInputsAsked(Said):
    claim: WorkClaim
    what: list[Literal["results", "upstream", "arrivals"]] = Field(min_length=1, max_length=3)


class WorkInputs(BaseModel):
    results: dict[str, Any] | None = Field(None, description="run number -> result of a finished task of the flow")
    upstream: list[Any] | None = Field(None, description="results of the tasks that this one waited for, in run order")
    arrivals: list[dict[str, Any]] | None = Field(None, description="what the task awaited, oldest first")


class WorkerLeft(BaseModel):
    returned: int = Field(description="how many tasks went back to waiting")
