"""What the paths of workflows take and answer, as pydantic models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, RootModel, create_model

from engine.commands.carrying_out import MAX_REASON
from engine.documents.shape import Document, Id
from register.api.parts import PageQuery, Query

WorkflowBody = create_model(
    "WorkflowBody",
    __base__=Document,
    __doc__="A workflow: all that its definition rows say (docs/workflow-files.md).",
    task_id=(Id | None, Field(default=None, description="that of the path; need not be repeated")),
)


class WorkflowsQuery(PageQuery):
    """Which workflows to list."""

    text: str | None = Field(default=None, max_length=256, description="found in the id or the description")
    tag: str | None = Field(default=None, max_length=255)
    owner: str | None = Field(default=None, max_length=256)


class ApplyQuery(Query):
    dry_run: bool = Field(False, description="say what would change, and change nothing")
    reason: str | None = Field(default=None, max_length=MAX_REASON, description="why it is asked for")


class DeleteQuery(Query):
    force: bool = Field(False, description="also while flows of it are under way; they go on")
    reason: str | None = Field(default=None, max_length=MAX_REASON, description="why it is asked for")


class DiffQuery(Query):
    older: str | None = Field(default=None, alias="from", max_length=64, description="unless given, the version before")
    newer: str | None = Field(default=None, alias="to", max_length=64, description="unless given, what is there now")


class Anything(RootModel[Any]):
    """A document of a workflow, good or bad (docs/workflow-files.md)."""


class WorkflowListed(BaseModel):
    task_id: str
    description: str | None
    owner: str | None
    tags: list[str]
    changed_ts: str | None
    changed_by: str | None
    version_id: str | None = Field(description="null if it cannot run")
    problem: str | None = Field(description="why it cannot run")
    live_flows: int = Field(description="flows under way, counted up to 1,000")
    last_flow: str | None


class Workflows(BaseModel):
    workflows: list[WorkflowListed]
    next: str | None = Field(description="`cursor` of the next page")


class WorkflowRead(BaseModel):
    """A workflow as it is."""

    document: Document
    version_id: str
    stamp: str = Field(description="what If-Match takes: it changes whenever the workflow does")
    changed_ts: str | None
    changed_by: str | None
    source_format: str | None = Field(description="how it was written last: toml, json")


class WorkflowVersion(BaseModel):
    version_id: str
    created_ts: str
    is_current: bool = Field(description="flows are made from it now")


class WorkflowVersions(BaseModel):
    versions: list[WorkflowVersion]
    next: str | None = Field(description="`cursor` of the next page")


class WorkflowVersionRead(WorkflowVersion):
    """A version, as a document with every edge that it has."""

    document: Document


class Compared(BaseModel):
    """`added` and `removed` with their fields, `changed` with `fields` {name: {from, to}}; steps by `seq`, edges by
    `before` and `after`."""

    added: list[dict[str, Any]]
    removed: list[dict[str, Any]]
    changed: list[dict[str, Any]]


class Changes(BaseModel):
    is_same: bool
    steps: Compared
    edges: Compared
    workflow: dict[str, Any] = Field(description="name -> {from, to}")


class LiveOfVersion(BaseModel):
    version_id: str | None
    flows: int


class Live(BaseModel):
    """Flows under way; they keep the version that they were made from."""

    count: int = Field(description="counted up to 10,000")
    is_more: bool
    versions: list[LiveOfVersion]
    flows: list[str] = Field(description="the first 20")


class WorkflowDiff(Changes):
    task_id: str
    older: str | None = Field(alias="from", description="a version; null: there was none")
    newer: str = Field(alias="to", description="a version")
    live: Live


class WorkflowApplied(BaseModel):
    task_id: str
    version_id: str
    stamp: str
    was: str | None = Field(description="the version before")
    is_new: bool
    changes: Changes


class WorkflowDeleted(BaseModel):
    task_id: str


class DocumentProblem(BaseModel):
    where: str
    line: int | None
    words: str


class WorkflowValidated(BaseModel):
    is_valid: bool
    task_id: str | None
    version_id: str | None
    problems: list[DocumentProblem]
