"""Workflows: the list of them, and the versions that are kept of one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from engine.documents import kept, listing
from engine.documents.differences import difference
from register import problems
from register.actors import actor_of
from register.answers import Answer
from register.api import workflow_models as models
from register.api.parts import PageQuery, paged, part_of, query_of, workflow_of
from register.api.workflow_documents import OF_WORKFLOW, WORKFLOW, WORKFLOWS
from register.endpoints import NEXT_PAGE, Endpoint
from register.service import read


async def list_workflows(request: Request) -> Response:
    query, reach = query_of(request, models.WorkflowsQuery), actor_of(request).reach
    found, cursor = await read(request, lambda conn: listing.list_workflows(conn, **query.model_dump(), reach=reach))
    return paged(request, "workflows", found, cursor)


async def list_versions(request: Request) -> Response:
    task_id, query = workflow_of(request), query_of(request, PageQuery)
    found, cursor = await read(
        request, lambda conn: kept.versions_page(conn, task_id, limit=query.limit, cursor=query.cursor)
    )
    return paged(request, "versions", found, cursor)


async def read_version(request: Request) -> Response:
    task_id, version_id = workflow_of(request), part_of(request, "version_id")
    return Answer(await read(request, lambda conn: kept.version_document(conn, task_id, version_id)))


async def compare_versions(request: Request) -> Response:
    task_id, query = workflow_of(request), query_of(request, models.DiffQuery)
    return Answer(await read(request, lambda conn: difference(conn, task_id, query.older, query.newer)))


ENDPOINTS = (
    Endpoint(
        "GET",
        WORKFLOWS,
        list_workflows,
        "List workflows by id",
        models.Workflows,
        query=models.WorkflowsQuery,
        answer_headers=NEXT_PAGE,
        problems=problems.READING,
    ),
    Endpoint(
        "GET",
        f"{WORKFLOW}/versions",
        list_versions,
        "List the versions of a workflow that are kept, newest first",
        models.WorkflowVersions,
        query=PageQuery,
        answer_headers=NEXT_PAGE,
        problems=OF_WORKFLOW,
    ),
    Endpoint(
        "GET",
        f"{WORKFLOW}/versions/{{version_id}}",
        read_version,
        "Show a version of a workflow",
        models.WorkflowVersionRead,
        problems=(problems.UNKNOWN_VERSION, *OF_WORKFLOW),
    ),
    Endpoint(
        "GET",
        f"{WORKFLOW}/diff",
        compare_versions,
        "Compare two versions of a workflow, with the flows that are under way",
        models.WorkflowDiff,
        query=models.DiffQuery,
        problems=(problems.UNKNOWN_VERSION, problems.BAD_DEFINITION, *OF_WORKFLOW),
    ),
)
