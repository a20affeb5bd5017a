# ruff: noqa: N815 - the names are those of JSON members
"""What goes in and out, as pydantic models: requests are checked by them, and all of them are described by them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, StrictStr, create_model

from engine.commands.types import Priority
from engine.flows import MAX_ID, MAX_KEY
from engine.queries import MAX_PAGE
from engine.states import Status
from engine.tables import attempt, flow_stat, task_stat
from register.row_models import row_model

_NUMBER_OR_NAME: Any = {
    "type": ["integer", "string"],
    "enum": [form for one in Status for form in (int(one), one.name, one.name.lower())],
}


def _number(value: Any) -> Any:
    """Errors: ValueError, for pydantic."""
    number = Status.__members__.get(str(value).upper(), value)
    if str(number) not in {str(int(status)) for status in Status}:
        raise ValueError(f"is none of {', '.join(f'{status.value} {status.name}' for status in Status)}")
    return number


StatusNumber = Annotated[
    int, BeforeValidator(_number), Field(description="number or name", json_schema_extra=_NUMBER_OR_NAME)
]
"""A status, in a query."""
Text = Annotated[StrictStr, Field(min_length=1, max_length=MAX_ID)]


class RegisterBody(BaseModel):
    """What a registration may say beyond the id of its workflow."""

    model_config = ConfigDict(extra="forbid")

    parameters: dict[str, Any] | None = Field(
        default=None, description="replace the steps' own parameters of the same name"
    )
    priority: Priority | None = Field(default=None, description="replaces that of every step; smaller goes first")
    runKey: Text | None = Field(default=None, description="the period or business key that the flow stands for")


class BulkItem(RegisterBody):
    """One of many registrations of a request."""

    idempotencyKey: Annotated[StrictStr, Field(min_length=1, max_length=MAX_KEY)] | None = Field(
        default=None, description="as the header of that name, for this registration alone"
    )


class BulkBody(RootModel[list[BulkItem]]):
    """Registrations of one workflow; each stands and falls alone."""


class FlowQuery(BaseModel):
    """Which flows to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(default=None, min_length=1, description="`next` of the page before")
    taskId: Text | None = None
    status: StatusNumber | None = None


class Fault(BaseModel):
    """One thing that is wrong: `pointer` into the body, or the name of a `parameter` of path, query or headers."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class Problem(BaseModel):
    """RFC 9457, except that `status` is Flower's word: the number is `code`."""

    type: str = Field(description="urn:penstock:problem:...; stable")
    title: str
    code: int = Field(description="the HTTP status")
    detail: str
    instance: str = Field(description="the request's id, as in X-Request-Id")
    status: Literal["failed"]
    taskId: Literal["error"]
    description: str
    errors: list[Fault] = Field(default=[])
    reasons: list[str] = Field(default=[], description="not-ready: everything that is missing")
    taskFlowId: str | None = Field(default=None, description="key-reused, outcome-unknown: the flow that is meant")


class RegisterAnswer(BaseModel):
    status: Literal["succeeded"]
    taskId: str
    taskFlowId: str


class BulkProblem(Problem):
    index: int = Field(ge=0, description="place of the registration in the request, from 0")


class BulkAnswer(BaseModel):
    """What became of many registrations. `failed` says that not all of them were made."""

    status: Literal["succeeded", "failed"]
    taskId: str
    registered: int
    refused: int
    taskFlowIds: list[str | None] = Field(description="in the order of the request; null where it was refused")
    problems: list[BulkProblem] = Field(max_length=100, description="the first that were refused, and why")


class RecoverAnswer(BaseModel):
    status: Literal["succeeded"]
    taskFlowId: str
    recovered: list[int] = Field(description="run numbers of the tasks that were suspended, ascending")


class Health(BaseModel):
    status: Literal["ok"]


class Service(BaseModel):
    service: Literal["penstock register"]
    paths: dict[str, str] = Field(description="method and path -> what it does")


_STATUS = (str, Field(description="the status by name"))
_SECRETS = {"idempotency_key", "request_hash"}
Attempt = row_model("Attempt", attempt, {"task_flow_id", "task_exec_seq"})
Task = row_model(
    "Task",
    task_stat,
    set(),
    status=_STATUS,
    depends=(list[int], ...),
    attempts=(list[Attempt], ...),  # type: ignore[valid-type]
)
Flow = row_model("Flow", flow_stat, _SECRETS, status=_STATUS)
FlowWithTasks = row_model("FlowWithTasks", flow_stat, _SECRETS, status=_STATUS, tasks=(list[Task], ...))  # type: ignore[valid-type]
FlowPage = create_model("FlowPage", flows=(list[Flow], ...), next=(str | None, ...))  # type: ignore[valid-type]
