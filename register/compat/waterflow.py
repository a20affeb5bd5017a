"""Waterflow's paths: jobs whose DAG is asked for at run time, and workers that call for work.

A worker of Waterflow's kind knows no heartbeats, so its lease is long (`waterflow_lease_s`), and each call for work
begins it anew. Its claim travels in the ids of tasks: docs/compatibility.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from engine import jsontext
from engine.access import Role
from engine.claimed import ClaimedTask
from engine.compat import waterflow as jobs
from engine.compat import waterflow_verbs as verbs
from engine.compat import waterflow_views as views
from engine.compat.waterflow import Given, Job
from engine.database import Database
from engine.errors import BadRequest, Conflict, Forbidden, UnknownWorkflow
from engine.flows import Registered
from engine.states import Status
from register import problems
from register.actors import actor_of, registered_by
from register.answers import Answer
from register.compat import waterflow_models as models
from register.compat.answering import body_of, in_their_way, named, query_of, run_in
from register.endpoints import Endpoint
from register.service import service_of

MAX_DAG_BYTES = 16 * 1024 * 1024
STATS_REST = 20
"""Counts are taken anew after this many times as long as they took."""


@in_their_way
async def submit_job(request: Request) -> Response:
    service, workflow = service_of(request), _queue(request)
    said = await body_of(request, models.WaterflowJob)
    job = said.model_dump(exclude={"tags"}) | {"job_input64_v": said.job_input64_v or 0}
    wish = jobs.registration(workflow, job, said.tags or (), registered_by(request))
    outcome = await service.commits.submit(wish)
    if isinstance(outcome, UnknownWorkflow):  # the first job of this queue
        await run_in(request, lambda db: jobs.define(db, workflow))
        outcome = await service.commits.submit(wish)
    if isinstance(outcome, Registered):
        return Answer({"job_id": outcome.flow_id})
    raise outcome


@in_their_way
async def get_work(request: Request) -> Response:
    service, query = service_of(request), query_of(request, models.WaterflowWorkQuery)
    queue, worker = named(request, "queue"), named(request, "worker")
    _queue(request)
    if not 1 <= len(worker) <= 255:
        raise BadRequest("worker", "must have 1 to 255 characters")
    lease_s = query.lease_s or service.settings.waterflow_lease_s
    tasks = await run_in(request, lambda db: jobs.take(db, queue, worker, query.max or 1, lease_s))
    fetches = [_fetch(task) for task in tasks if task.program == jobs.FETCH]
    runs = [_run(task) for task in tasks if task.program == jobs.RUN]
    if query.max is not None:
        return Answer({"fetch_dag": fetches, "run_task": runs})
    return Answer({"fetch_dag": next(iter(fetches), None), "run_task": next(iter(runs), None)})


@in_their_way
async def set_dag(request: Request) -> Response:
    workflow, query = _queue(request), query_of(request, models.WaterflowDagQuery)
    dag = await body_of(request, models.WaterflowDag, MAX_DAG_BYTES)
    tasks = _given(dag)
    raw = {"raw_dag64": dag.raw_dag64, "raw_dagv": dag.raw_dagv or 0}
    if len(dag.raw_dag64 or "") > jsontext.MAX_RESULT_BYTES - 100:
        raise problems.Refused(problems.TOO_LARGE, f"raw_dag64 has more than {jsontext.MAX_RESULT_BYTES - 100:,} bytes")

    def work(db: Database) -> None:
        job = _found(db, request)
        if job.flow.task_id != workflow:
            raise Conflict(f"job {job.job_id}", f"is of queue {job.queue}", "name that one")
        jobs.set_dag(db, job, tasks, raw, query.claim_id)

    return await _done(request, work)


@in_their_way
async def complete_task(request: Request) -> Response:
    query, actor = query_of(request, models.WaterflowForceQuery), actor_of(request)

    def work(db: Database) -> None:
        job, row = _task(db, request)
        _check_holds(request, row)
        if row.exec_status == Status.SUSPEND or query.force:
            seq = row.task_exec_seq
            verbs.on_task(db, verbs.Finish(), job.job_id, seq, actor.name, "it has been settled already")
        elif not _ended_with_its_job(row):
            jobs.complete(db, row)

    return await _done(request, work)


@in_their_way
async def fail_task(request: Request) -> Response:
    said = await body_of(request, models.WaterflowFailure)

    def work(db: Database) -> None:
        _, row = _task(db, request)
        _check_holds(request, row)
        jobs.fail(db, row, said.message, said.object64)

    return await _done(request, work)


@in_their_way
async def keep_task_alive(request: Request) -> Response:
    lease_s = query_of(request, models.WaterflowWorkQuery).lease_s or service_of(request).settings.waterflow_lease_s

    def work(db: Database) -> None:
        _, row = _task(db, request)
        _check_holds(request, row)
        jobs.keep_alive(db, row, lease_s)

    return await _done(request, work)


def _on_task(name: str, make: Callable[[], verbs.Pause | verbs.Resume | verbs.Retry], remedy: str) -> Any:
    async def run(request: Request) -> Response:
        actor = actor_of(request)

        def work(db: Database) -> None:
            job, row = _task(db, request)
            verbs.on_task(db, make(), job.job_id, row.task_exec_seq, actor.name, remedy)

        return await _done(request, work)

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
    return await _done(
        request, lambda db: verbs.on_job(db, verbs.Cancel(), _found(db, request).job_id, actor.name, note)
    )


@in_their_way
async def cancel_job(request: Request) -> Response:
    said, actor = await body_of(request, models.WaterflowFailure), actor_of(request)
    return await _done(
        request, lambda db: verbs.on_job(db, verbs.Cancel(), _found(db, request).job_id, actor.name, said.message)
    )


@in_their_way
async def pause_job(request: Request) -> Response:
    actor = actor_of(request)
    return await _done(request, lambda db: verbs.on_job(db, verbs.Pause(), _found(db, request).job_id, actor.name))


@in_their_way
async def resume_job(request: Request) -> Response:
    actor, resume = actor_of(request), verbs.Resume(only_paused=True)
    return await _done(request, lambda db: verbs.on_job(db, resume, _found(db, request).job_id, actor.name))


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
        job = _found(db, request)
        with db.read() as conn:
            return views.tasks_of(conn, job.job_id, query.limit, query.after)

    return Answer({"tasks": await run_in(request, work)})


@in_their_way
async def list_events_of_job(request: Request) -> Response:
    def work(db: Database) -> list[dict[str, Any]]:
        job = _found(db, request)
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


def _queue(request: Request) -> str:
    """The workflow of the queue that the path names. Errors: BadRequest; Forbidden."""
    workflow, actor = jobs.workflow_of(named(request, "queue")), actor_of(request)
    if not actor.reach.covers(workflow):
        raise Forbidden(actor.name, f"use the queue {workflow}", "that is beyond what it reaches")
    return workflow


def _found(db: Database, request: Request) -> Job:
    with db.read() as conn:
        return jobs.find(conn, named(request, "job_id"), actor_of(request).reach)


def _task(db: Database, request: Request) -> tuple[Job, Any]:
    with db.read() as conn:
        job = jobs.find(conn, named(request, "job_id"), actor_of(request).reach)
        return job, jobs.task_of(conn, job.job_id, named(request, "task_id"))


def _check_holds(request: Request, row: Any) -> None:
    task_id = named(request, "task_id")
    if not jobs.holds(row, task_id):
        raise Conflict(f"task {task_id}", "has been handed out anew since", "nothing was changed")


def _ended_with_its_job(row: Any) -> bool:
    """A task of a job that was cancelled may finish, and changes nothing."""
    return bool(row.exec_status == Status.IGNORE)


async def _done(request: Request, work: Callable[[Database], None]) -> Response:
    await run_in(request, work)
    return Answer({})


def _fetch(task: ClaimedTask) -> dict[str, Any]:
    told = jsontext.loads_object(task.flow_parameters or "{}")
    queue = task.task_id.removeprefix(jobs.PREFIX)
    return {
        "job_id": task.key.flow_id,
        "job_input64": told.get("job_input64"),
        "job_input64_v": told.get("job_input64_v", 0),
        "service_pointer": told.get("service_pointer"),
        "work_queue": int(queue) if queue.isdigit() else queue,
        "claim_id": task.claim_id,
    }


def _run(task: ClaimedTask) -> dict[str, Any]:
    told = jsontext.loads_object(task.parameters or "{}")
    return {
        "job_id": task.key.flow_id,
        "task_id": jobs.handed_out(task),
        "task_name": told.get("task_name"),
        "task_input64": told.get("task_input64"),
        "task_input64_v": told.get("task_input64_v", 0),
        "service_pointer": told.get("service_pointer"),
    }


def _given(dag: models.WaterflowDag) -> list[Given]:
    """The tasks in the order of the request. Errors: BadRequest for an index that no task has."""
    places = {index: place for place, index in enumerate(dag.tasks)}
    if not places:
        raise BadRequest("tasks", "are none: a DAG has at least one")
    after: dict[str, list[int]] = {}
    for index, befores in dag.adj_list.items():
        for one in (index, *befores):
            if str(one) not in places:
                raise BadRequest("adj_list", f"names the task {str(one)[:50]!r}, which is not among the tasks")
        after[index] = list(dict.fromkeys(places[str(one)] for one in befores))
    return [Given(task.task_name, _payload(task), after.get(index, ())) for index, task in dag.tasks.items()]


def _payload(task: models.WaterflowDagTask) -> dict[str, Any]:
    return {
        "task_name": task.task_name,
        "task_input64": task.input64,
        "task_input64_v": task.input64_v or 0,
        "service_pointer": task.service_pointer,
    }


_DATABASE = (problems.PRESSED, problems.UNAVAILABLE, problems.OUTCOME_UNKNOWN, problems.FATAL)
_SENT = (problems.BAD_INPUT, problems.TOO_LARGE, problems.FORBIDDEN, *_DATABASE)
_OF_JOB = (problems.UNKNOWN_FLOW, problems.CONFLICT, *_SENT)
_JOB, _TASK = "/{job_id}", "/{job_id}/{task_id}"


def _endpoint(
    path: str,
    run: Any,
    summary: str,
    answers: Any = models.WaterflowNothing,
    *,
    method: str = "POST",
    role: Role = Role.OPERATOR,
    kinds: Sequence[problems.Kind] = _OF_JOB,
    **more: Any,
) -> Endpoint:
    return Endpoint(method, path, run, f"Waterflow: {summary}", answers, role=role, problems=tuple(kinds), **more)


_READ: dict[str, Any] = {"method": "GET", "role": Role.VIEWER}
_WORK: dict[str, Any] = {"query": models.WaterflowWorkQuery, "kinds": _SENT}


async def post_work(request: Request) -> Response:
    return await get_work(request)


ENDPOINTS = (
    _endpoint(
        "/api/submit_job/{queue}",
        submit_job,
        "submit a job",
        models.WaterflowJobId,
        takes=models.WaterflowJob,
        kinds=_SENT,
    ),
    _endpoint(
        "/api/get_work/{queue}/{worker}", get_work, "call for work", models.WaterflowWorkItem, method="GET", **_WORK
    ),
    _endpoint("/api/get_work/{queue}/{worker}", post_work, "call for work", models.WaterflowWorkItem, **_WORK),
    _endpoint(
        "/api/set_dag/{queue}/{job_id}",
        set_dag,
        "give a job its DAG",
        takes=models.WaterflowDag,
        query=models.WaterflowDagQuery,
    ),
    _endpoint(f"/api/complete_task{_TASK}", complete_task, "finish a task", query=models.WaterflowForceQuery),
    _endpoint(f"/api/fail_task{_TASK}", fail_task, "fail a task", takes=models.WaterflowFailure),
    _endpoint(f"/api/cancel_task{_TASK}", cancel_task, "fail a task that has not begun"),
    _endpoint(f"/api/retry_task{_TASK}", retry_task, "try a failed task again"),
    _endpoint(f"/api/pause_task{_TASK}", pause_task, "hold a task back"),
    _endpoint(f"/api/resume_task{_TASK}", resume_task, "take back a pause"),
    _endpoint(
        f"/api/keep_task_alive{_TASK}", keep_task_alive, "extend the lease of a task", query=models.WaterflowWorkQuery
    ),
    _endpoint(f"/api/fail_job{_JOB}", fail_job, "fail a job", takes=models.WaterflowFailure),
    _endpoint(f"/api/cancel_job{_JOB}", cancel_job, "cancel a job", takes=models.WaterflowFailure),
    _endpoint(f"/api/pause_job{_JOB}", pause_job, "hold back what has not begun"),
    _endpoint(f"/api/resume_job{_JOB}", resume_job, "take back a pause of a job"),
    _endpoint(f"/api/job{_JOB}", read_job, "show a job", None, **_READ),
    _endpoint(
        f"/api/job{_JOB}/tasks",
        list_tasks_of_job,
        "list a job's tasks",
        models.WaterflowTasks,
        query=models.WaterflowTasksQuery,
        **_READ,
    ),
    _endpoint(f"/api/job{_JOB}/events", list_events_of_job, "list a job's events", models.WaterflowEvents, **_READ),
    _endpoint(
        "/api/jobs", list_jobs, "find jobs by a tag", models.WaterflowJobs, query=models.WaterflowJobsQuery, **_READ
    ),
    _endpoint("/ui/stats/jobs", job_stats, "count jobs", models.WaterflowJobStats, **_READ),
    _endpoint("/ui/stats/jobs/", job_stats_of_slash, "count jobs", models.WaterflowJobStats, **_READ),
    _endpoint("/ui/stats/tasks", task_stats, "count tasks", models.WaterflowTaskStats, **_READ),
    _endpoint("/ui/stats/tasks/", task_stats_of_slash, "count tasks", models.WaterflowTaskStats, **_READ),
)


def knows(program: str) -> bool:
    """Is it a program that workers of Waterflow's kind run? No catalogue has it."""
    return program in (jobs.FETCH, jobs.RUN)
