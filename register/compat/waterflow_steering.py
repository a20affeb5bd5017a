"""What operators ask of Waterflow's jobs and tasks, and what they read of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from engine.compat import waterflow_verbs as verbs
from engine.compat import waterflow_views as views
from engine.database import Database
from register.actors import actor_of
from register.answers import Answer
from register.compat import waterflow_models as models
from register.compat.answering import body_of, in_their_way, named, query_of, run_in
from register.compat.waterflow_asking import done, job_of, task_named
from register.service import service_of

STATS_REST = 20
"""Counts are taken anew after this many times as long as they took."""


def _on_task(name: str, make: Callable[[], verbs.Pause | verbs.Resume | verbs.Retry], remedy: str) -> Any:
    async def run(request: Request) -> Response:
        actor = actor_of(request)

        def work(db: Database) -> None:
            job, row = task_named(db, request)
            verbs.on_task(db, make(), job.job_id, row.task_exec_seq, actor.name, remedy)

        return await done(request, work)

    run.__name__ = name
    return in_their_way(run)


cancel_task = _on_task("cancel_task", verbs.CancelTask, "only one that has not begun is cancelled")
retry_task = _on_task("retry_task", verbs.Retry, "only a failed one is tried again")
pause_task = _on_task("pause_task", verbs.Pause, "only one that has not begun is paused")
resume_task = _on_task("resume_task", lambda: verbs.Resume(only_paused=True), "only a paused one is resumed")


@in_their_way
async def fail_job(request: Request) -> Response:
    said, actor = await body_of(request, models.WaterflowFailure), actor_of(request)
    note = verbs.FAILED_WORDS + said.message
    return await done(
        request, lambda db: verbs.on_job(db, verbs.Cancel(), job_of(db, request).job_id, actor.name, note)
    )


@in_their_way
async def cancel_job(request: Request) -> Response:
    said, actor = await body_of(request, models.WaterflowFailure), actor_of(request)
    return await done(
        request, lambda db: verbs.on_job(db, verbs.Cancel(), job_of(db, request).job_id, actor.name, said.message)
    )


@in_their_way
async def pause_job(request: Request) -> Response:
    actor = actor_of(request)
    return await done(request, lambda db: verbs.on_job(db, verbs.Pause(), job_of(db, request).job_id, actor.name))


@in_their_way
async def resume_job(request: Request) -> Response:
    actor, resume = actor_of(request), verbs.Resume(only_paused=True)
    return await done(request, lambda db: verbs.on_job(db, resume, job_of(db, request).job_id, actor.name))


@in_their_way
async def read_job(request: Request) -> Response:
    job_id, reach = named(request, "job_id"), actor_of(request).reach

    def work(db: Database) -> dict[str, Any]:
        with db.read() as conn:
            return views.job_details(conn, job_id, reach)

    return Answer(await run_in(request, work))


@in_their_way
async def list_tasks_of_job(request: Request) -> Response:
    query = query_of(request, models.WaterflowTasksQuery)

    def work(db: Database) -> list[dict[str, Any]]:
        job = job_of(db, request)
        with db.read() as conn:
            return views.tasks_of(conn, job.job_id, query.limit, query.after)

    return Answer({"tasks": await run_in(request, work)})


@in_their_way
async def list_events_of_job(request: Request) -> Response:
    def work(db: Database) -> list[dict[str, Any]]:
        job = job_of(db, request)
        with db.read() as conn:
            return views.events_of(conn, job.job_id, views.MAX_PAGE)

    return Answer({"events": await run_in(request, work)})


@in_their_way
async def list_jobs(request: Request) -> Response:
    query, reach = query_of(request, models.WaterflowJobsQuery), actor_of(request).reach

    def work(db: Database) -> list[dict[str, Any]]:
        with db.read() as conn:
            return views.jobs_tagged(conn, query.tag, query.limit, reach)

    return Answer({"jobs": await run_in(request, work)})


def _stats(name: str, count: Callable[[Any], dict[str, int]], suffix: str = "") -> Any:
    async def run(request: Request) -> Response:
        service = service_of(request)
        actor_of(request).needs_all("count the jobs of every queue")
        known: tuple[float, dict[str, int]] | None = service.counts.get(name)
        if known is None or time.monotonic() >= known[0]:
            began = time.monotonic()
            counts = await run_in(request, lambda db: _read(db, count))
            ended = time.monotonic()
            known = service.counts[name] = (ended + STATS_REST * (ended - began), counts)
        return Answer(known[1], headers=_cors(request))

    run.__name__ = name + suffix
    return in_their_way(run)


job_stats = _stats("job_stats", views.job_stats)
task_stats = _stats("task_stats", views.task_stats)
job_stats_of_slash = _stats("job_stats", views.job_stats, "_of_slash")
task_stats_of_slash = _stats("task_stats", views.task_stats, "_of_slash")


def _read(db: Database, count: Callable[[Any], dict[str, int]]) -> dict[str, int]:
    with db.read() as conn:
        return count(conn)


def _cors(request: Request) -> dict[str, str]:
    """Pages of other origins may read the counts if they are listed."""
    origin, listed = request.headers.get("origin"), service_of(request).settings.ui_origins
    if origin is None or not (origin in listed or "*" in listed):
        return {"Vary": "Origin"}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
