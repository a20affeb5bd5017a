"""What Waterflow's clients send and are sent."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from engine.compat.waterflow import MAX_NAME, MAX_TASKS


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    return text


Payload = Annotated[StrictStr, AfterValidator(_base64)]
Version = Annotated[StrictInt, Field(ge=0, le=255)]
Pointer = Annotated[StrictStr, Field(max_length=128)]
Tag = Annotated[StrictStr, Field(min_length=1, max_length=255)]


class Sent(BaseModel):
    model_config = ConfigDict(extra="ignore")


class WaterflowJob(Sent):
    """A job without a DAG."""

    job_name: Annotated[StrictStr, Field(min_length=1, max_length=64)]
    job_input64: Payload = Field(description="base64, kept as it is")
    job_input64_v: Version | None = 0
    service_pointer: Pointer | None
    tags: Annotated[list[Tag], Field(max_length=8)] | None = None


class WaterflowJobId(BaseModel):
    job_id: str


class WaterflowDagTask(Sent):
    task_name: Annotated[StrictStr, Field(max_length=MAX_NAME)] | None = None
    input64: Payload | None = None
    input64_v: Version | None = 0
    service_pointer: Pointer | None = None


class WaterflowDag(Sent):
    """The DAG of a job: in `adj_list`, each task waits for the ones listed. May come as a JSON text within JSON."""

    raw_dag64: Payload | None = None
    raw_dagv: Version | None = 0
    tasks: dict[str, WaterflowDagTask] = Field(max_length=MAX_TASKS, description="by an index of the client's own")
    adj_list: dict[str, list[StrictInt | StrictStr]] = {}


class WaterflowFailure(Sent):
    message: StrictStr = Field("", description="what went wrong; its first 255 characters are shown")
    object64: Payload | None = Field(None, description="base64 of whatever may help")


class WaterflowNothing(BaseModel):
    """{}"""


class WaterflowFetchDag(BaseModel):
    job_id: str
    job_input64: str
    job_input64_v: int
    service_pointer: str | None
    work_queue: int | str
    claim_id: str = Field(description="may be given back to set_dag, which then refuses a DAG that comes too late")


class WaterflowRunTask(BaseModel):
    job_id: str
    task_id: str
    task_name: str | None
    task_input64: str | None
    task_input64_v: int
    service_pointer: str | None


class WaterflowWorkItem(BaseModel):
    """One item, or none; lists of both where `max` was given."""

    fetch_dag: WaterflowFetchDag | list[WaterflowFetchDag] | None
    run_task: WaterflowRunTask | list[WaterflowRunTask] | None


class WaterflowWorkQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    max: int | None = Field(default=None, ge=1, le=500, description="items at once; the answer holds lists then")
    lease_s: float | None = Field(default=None, ge=1, le=86_400, description="how long the worker may be silent")


class WaterflowDagQuery(BaseModel):
    claim_id: str | None = Field(default=None, description="of the item that asked for the DAG")


class WaterflowForceQuery(BaseModel):
    force: bool = Field(default=False, description="also a failed task, by an operator")


class WaterflowJobsQuery(BaseModel):
    tag: Annotated[str, Field(min_length=1, max_length=255)]
    limit: int = Field(default=50, ge=1, le=1_000)


class WaterflowTasksQuery(BaseModel):
    limit: int = Field(default=1_000, ge=1, le=4_096)
    after: int = Field(default=0, ge=0, le=2**31, description="number of a task: the page behind it")


class WaterflowJobStats(BaseModel):
    pending_count: int
    fetching_count: int
    running_count: int
    succeeded: int
    failed: int


class WaterflowTaskStats(BaseModel):
    blocked_count: int
    pending_count: int
    paused_count: int
    running_count: int
    succeeded_count: int
    failed_count: int


class WaterflowJobs(BaseModel):
    jobs: list[dict[str, Any]]


class WaterflowTasks(BaseModel):
    tasks: list[dict[str, Any]]


class WaterflowEvents(BaseModel):
    events: list[dict[str, Any]]
