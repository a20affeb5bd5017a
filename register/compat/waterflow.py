"""Waterflow's paths: jobs whose DAG is asked for at run time, and workers that call for work.

A worker of Waterflow's kind knows no heartbeats, so its lease is long (`waterflow_lease_s`), and each call for work
begins it anew. Its claim travels in the ids of tasks: docs/compatibility.md. It takes the role worker, and may give a
job its DAG: all tasks of that are of one program, which is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.access import Role
from engine.compat import waterflow as jobs
from register import problems
from register.compat import waterflow_models as models
from register.compat import waterflow_steering as steering
from register.compat import waterflow_work as work
from register.endpoints import Endpoint

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
_TOLD: dict[str, Any] = {"role": Role.WORKER}
_WORK: dict[str, Any] = {**_TOLD, "query": models.WaterflowWorkQuery, "kinds": _SENT}


ENDPOINTS = (
    _endpoint(
        "/api/submit_job/{queue}",
        work.submit_job,
        "submit a job",
        models.WaterflowJobId,
        takes=models.WaterflowJob,
        kinds=_SENT,
    ),
    _endpoint(
        "/api/get_work/{queue}/{worker}",
        work.get_work,
        "call for work",
        models.WaterflowWorkItem,
        method="GET",
        **_WORK,
    ),
    _endpoint("/api/get_work/{queue}/{worker}", work.post_work, "call for work", models.WaterflowWorkItem, **_WORK),
    _endpoint(
        "/api/set_dag/{queue}/{job_id}",
        work.set_dag,
        "give a job its DAG",
        takes=models.WaterflowDag,
        query=models.WaterflowDagQuery,
        **_TOLD,
    ),
    _endpoint(
        f"/api/complete_task{_TASK}", work.complete_task, "finish a task", query=models.WaterflowForceQuery, **_TOLD
    ),
    _endpoint(f"/api/fail_task{_TASK}", work.fail_task, "fail a task", takes=models.WaterflowFailure, **_TOLD),
    _endpoint(f"/api/cancel_task{_TASK}", steering.cancel_task, "fail a task that has not begun"),
    _endpoint(f"/api/retry_task{_TASK}", steering.retry_task, "try a failed task again"),
    _endpoint(f"/api/pause_task{_TASK}", steering.pause_task, "hold a task back"),
    _endpoint(f"/api/resume_task{_TASK}", steering.resume_task, "take back a pause"),
    _endpoint(
        f"/api/keep_task_alive{_TASK}",
        work.keep_task_alive,
        "extend the lease of a task",
        query=models.WaterflowWorkQuery,
        **_TOLD,
    ),
    _endpoint(f"/api/fail_job{_JOB}", steering.fail_job, "fail a job", takes=models.WaterflowFailure),
    _endpoint(f"/api/cancel_job{_JOB}", steering.cancel_job, "cancel a job", takes=models.WaterflowFailure),
    _endpoint(f"/api/pause_job{_JOB}", steering.pause_job, "hold back what has not begun"),
    _endpoint(f"/api/resume_job{_JOB}", steering.resume_job, "take back a pause of a job"),
    _endpoint(f"/api/job{_JOB}", steering.read_job, "show a job", None, **_READ),
    _endpoint(
        f"/api/job{_JOB}/tasks",
        steering.list_tasks_of_job,
        "list a job's tasks",
        models.WaterflowTasks,
        query=models.WaterflowTasksQuery,
        **_READ,
    ),
    _endpoint(
        f"/api/job{_JOB}/events", steering.list_events_of_job, "list a job's events", models.WaterflowEvents, **_READ
    ),
    _endpoint(
        "/api/jobs",
        steering.list_jobs,
        "find jobs by a tag",
        models.WaterflowJobs,
        query=models.WaterflowJobsQuery,
        **_READ,
    ),
    _endpoint("/ui/stats/jobs", steering.job_stats, "count jobs", models.WaterflowJobStats, **_READ),
    _endpoint("/ui/stats/jobs/", steering.job_stats_of_slash, "count jobs", models.WaterflowJobStats, **_READ),
    _endpoint("/ui/stats/tasks", steering.task_stats, "count tasks", models.WaterflowTaskStats, **_READ),
    _endpoint("/ui/stats/tasks/", steering.task_stats_of_slash, "count tasks", models.WaterflowTaskStats, **_READ),
)


def knows(program: str) -> bool:
    """Is it a program that workers of Waterflow's kind run? No catalogue has it."""
    return program in (jobs.FETCH, jobs.RUN)
