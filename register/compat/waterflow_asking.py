"""What a request to one of Waterflow's paths is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from engine.compat import waterflow as jobs
from engine.compat.waterflow import Job
from engine.database import Database
from engine.errors import Conflict, Forbidden
from register.actors import actor_of
from register.answers import Answer
from register.compat.answering import named, run_in


def queue_of(request: Request) -> str:
    """The workflow of the queue that the path names. Errors: BadRequest; Forbidden."""
    workflow, actor = jobs.workflow_of(named(request, "queue")), actor_of(request)
    if not actor.reach.covers(workflow):
        raise Forbidden(actor.name, f"use the queue {workflow}", "that is beyond what it reaches")
    return workflow


def job_of(db: Database, request: Request) -> Job:
    with db.read() as conn:
        return jobs.find(conn, named(request, "job_id"), actor_of(request).reach)


def task_named(db: Database, request: Request) -> tuple[Job, Any]:
    with db.read() as conn:
        job = jobs.find(conn, named(request, "job_id"), actor_of(request).reach)
        return job, jobs.task_of(conn, job.job_id, named(request, "task_id"))


def check_holds(request: Request, row: Any) -> None:
    task_id = named(request, "task_id")
    if not jobs.holds(row, task_id):
        raise Conflict(f"task {task_id}", "has been handed out anew since", "nothing was changed")


async def done(request: Request, work: Callable[[Database], None]) -> Response:
    await run_in(request, work)
    return Answer({})
