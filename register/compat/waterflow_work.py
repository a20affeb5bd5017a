"""What Waterflow's clients and workers say: jobs, calls for work, DAGs, and what became of tasks."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from engine import jsontext
from engine.access import Role
from engine.claimed import ClaimedTask
from engine.compat import waterflow as jobs
from engine.compat import waterflow_verbs as verbs
from engine.compat.waterflow import Given
from engine.database import Database
from engine.errors import BadRequest, Conflict, UnknownWorkflow
from engine.flows import Registered
from engine.states import Status
from register import problems
from register.actors import actor_of, registered_by
from register.answers import Answer
from register.compat import waterflow_models as models
from register.compat.answering import body_of, in_their_way, named, query_of, run_in
from register.compat.waterflow_asking import check_holds, done, job_of, queue_of, task_named
from register.service import service_of

MAX_DAG_BYTES = 16 * 1024 * 1024


@in_their_way
async def submit_job(request: Request) -> Response:
    service, workflow = service_of(request), queue_of(request)
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
    queue_of(request)
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
    workflow, query = queue_of(request), query_of(request, models.WaterflowDagQuery)
    dag = await body_of(request, models.WaterflowDag, MAX_DAG_BYTES)
    tasks = _given(dag)
    raw = {"raw_dag64": dag.raw_dag64, "raw_dagv": dag.raw_dagv or 0}
    if len(dag.raw_dag64 or "") > jsontext.MAX_RESULT_BYTES - 100:
        raise problems.Refused(problems.TOO_LARGE, f"raw_dag64 has more than {jsontext.MAX_RESULT_BYTES - 100:,} bytes")

    def work(db: Database) -> None:
        job = job_of(db, request)
        if job.flow.task_id != workflow:
            raise Conflict(f"job {job.job_id}", f"is of queue {job.queue}", "name that one")
        jobs.set_dag(db, job, tasks, raw, query.claim_id)

    return await done(request, work)


@in_their_way
async def complete_task(request: Request) -> Response:
    query, actor = query_of(request, models.WaterflowForceQuery), actor_of(request)

    def work(db: Database) -> None:
        job, row = task_named(db, request)
        check_holds(request, row)
        if row.exec_status == Status.SUSPEND or query.force:
            actor.needs(Role.OPERATOR, "complete a failed task by force")
            seq = row.task_exec_seq
            verbs.on_task(db, verbs.Finish(), job.job_id, seq, actor.name, "it has been settled already")
        elif not _ended_with_its_job(row):
            jobs.complete(db, row)

    return await done(request, work)


@in_their_way
async def fail_task(request: Request) -> Response:
    said = await body_of(request, models.WaterflowFailure)

    def work(db: Database) -> None:
        _, row = task_named(db, request)
        check_holds(request, row)
        jobs.fail(db, row, said.message, said.object64)

    return await done(request, work)


@in_their_way
async def keep_task_alive(request: Request) -> Response:
    lease_s = query_of(request, models.WaterflowWorkQuery).lease_s or service_of(request).settings.waterflow_lease_s

    def work(db: Database) -> None:
        _, row = task_named(db, request)
        check_holds(request, row)
        jobs.keep_alive(db, row, lease_s)

    return await done(request, work)


async def post_work(request: Request) -> Response:
    return await get_work(request)


def _ended_with_its_job(row: Any) -> bool:
    """A task of a job that was cancelled may finish, and changes nothing."""
    return bool(row.exec_status == Status.IGNORE)


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
