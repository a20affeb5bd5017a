"""The protocol of remote workers: enlist, beat, claim, log, settle, leave.

All of it takes the role worker, and the reach of all workflows: tasks of each may fall to a worker. Only an answer that
adds tasks to a flow decides which programs run, and takes the role author.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from engine import inputs, leases
from engine.access import Role
from engine.database import Database
from engine.errors import BadRequest
from engine.ids import new_claim_id
from engine.keys import Fence, Key
from engine.remote import claiming, logs, settling, workers
from engine.remote.claiming import Given
from engine.remote.settling import Answer as Told
from engine.remote.workers import Worker
from engine.supervise.holdings import held_by
from register import bodies, problems
from register.actors import actor_of
from register.answers import Answer
from register.api import work_models as models
from register.endpoints import Endpoint
from register.problems import Refused, misfit
from register.service import service_of

T = TypeVar("T")
BEATS_PER_LEASE = 4
PATH = "/api/v1/workers"
MAX_BATCH_BYTES = 8 * 1024 * 1024
"""Of one request that settles: a result alone may have a mebibyte."""


async def enlist_worker(request: Request) -> Response:
    """A new id with each request: one whose answer was lost lapses by itself."""
    _check_reach(request)
    said = await _body(request, models.WorkerEnlist)
    facts = said.model_dump(exclude={"lease_s"})
    lease_s = float(said.lease_s)
    worker_id = await _run(request, lambda db: workers.enlist(db, lease_s=lease_s, **facts))
    return Answer({"worker_id": worker_id, "lease_s": lease_s, "beat_s": lease_s / BEATS_PER_LEASE})


async def beat_worker(request: Request) -> Response:
    said, worker_id = await _body(request, models.WorkerBeat), _worker_id(request)
    holding = None if said.holding is None else {claim.fence: claim for claim in said.holding}
    beaten = await _run(request, lambda db: workers.beat(db, worker_id, None if holding is None else holding.keys()))
    lost = [holding[fence].model_dump() for fence in beaten.lost] if holding else []
    return Answer({"lease_s": beaten.lease_s, "lost": lost, "drain": beaten.drain})


async def claim_work(request: Request) -> Response:
    """Answer with tasks, at once or as soon as there are some."""
    service, said, worker_id = service_of(request), await _body(request, models.WorkWanted), _worker_id(request)
    claim_id = claiming.claim_id_of(worker_id, said.request) if said.request else new_claim_id()
    ends = time.monotonic() + min(float(said.wait_s), service.settings.request_timeout_s / 2)
    worker, drains = await _run(request, lambda db: _known(db, worker_id))
    given: list[Given] = []
    if said.request:
        given = await _run(request, lambda db: _given_before(db, worker_id, claim_id))
    while not given and not drains:
        given = await _run(request, lambda db: _claimed(db, worker, claim_id, said))
        left_s = ends - time.monotonic()
        if given or left_s <= 0:
            break
        if not await service.workers.wait(worker.queues, worker.programs, said.max, left_s):
            break
        if await request.is_disconnected():  # nobody would hear of what was claimed
            break
        service.workers.in_vain()  # unless what comes now finds something
    if given:
        service.workers.nudge()  # there may be more
    return Answer({"tasks": [_work(one) for one in given], "lease_s": worker.lease_s, "drain": drains})


async def settle_work(request: Request) -> Response:
    service, worker_id = service_of(request), _worker_id(request)
    said = await _batch(request)
    if any(isinstance(item, models.PlanWork) for item in said):
        actor_of(request).needs(Role.AUTHOR, "add tasks to a flow, which decides which programs run")
    told = [settling.Told(item.claim.fence, item.claim.attempt, item.made(), item.log) for item in said]
    answers = await _run(request, lambda db: _settled(db, worker_id, told))
    service.workers.nudge()
    shown = [
        {**item.claim.model_dump(exclude={"attempt"}), "answer": answer.value}
        for item, answer in zip(said, answers, strict=True)
    ]
    if Told.SETTLED not in answers:
        words = "none of these claims is the last one of its task: nothing was changed"
        raise Refused(problems.STALE_CLAIM, words, answers=shown)
    return Answer({"answers": shown})


async def log_work(request: Request) -> Response:
    said, worker_id = await _body(request, models.WorkLog), _worker_id(request)
    parts: dict[Fence, str] = {}
    for part in said.parts:
        parts[part.claim.fence] = parts.get(part.claim.fence, "") + part.text
    kept = await _run(request, lambda db: logs.append(db, worker_id, parts))
    return Answer({"left_out": [kept[part.claim.fence] for part in said.parts]})


async def read_inputs(request: Request) -> Response:
    said, worker_id = await _body(request, models.WorkInputsAsked), _worker_id(request)
    found = await _run(request, lambda db: _inputs(db, worker_id, said))
    return Answer(found)


async def leave_work(request: Request) -> Response:
    worker_id = _worker_id(request)
    returned = await _run(request, lambda db: workers.leave(db, worker_id))
    service_of(request).workers.nudge()
    return Answer({"returned": returned})


async def _run(request: Request, work: Callable[[Database], T]) -> T:
    return await service_of(request).readers.run(work)


async def _body(request: Request, model: type[bodies.M]) -> bodies.M:
    body = await bodies.read_body(request, service_of(request).settings.max_body_bytes)
    return bodies.read_model(body, model)


async def _batch(request: Request) -> list[models.AnyOutcome]:
    most = max(service_of(request).settings.max_body_bytes, MAX_BATCH_BYTES)
    body = await bodies.read_body(request, most)
    document = bodies.read_document(body)
    if not isinstance(document, list):
        raise BadRequest("body", "is no JSON array of answers")
    try:
        return models.SettleBatch.model_validate(document).root
    except ValidationError as error:
        raise misfit(error, place="body") from error


def _check_reach(request: Request) -> None:
    """Errors: Forbidden."""
    actor_of(request).needs_all("work: tasks of every workflow may fall to a worker")


def _worker_id(request: Request) -> str:
    """Errors: Forbidden: whoever could not enlist does not act for somebody who has."""
    _check_reach(request)
    worker_id: str = request.path_params["worker_id"]
    return worker_id[:64]


def _known(db: Database, worker_id: str) -> tuple[Worker, bool]:
    with db.read() as conn:
        return workers.find(conn, worker_id), workers.wanted(conn, worker_id) == leases.DRAIN


def _given_before(db: Database, worker_id: str, claim_id: str) -> list[Given]:
    return claiming.given(db, worker_id, claiming.taken_under(db, claim_id))


def _claimed(db: Database, worker: Worker, claim_id: str, said: models.WorkWanted) -> list[Given]:
    tasks = claiming.take(db, worker, claim_id, said.max, exclusive=said.exclusive)
    return claiming.given(db, worker.worker_id, tasks)


def _settled(db: Database, worker_id: str, told: list[settling.Told]) -> list[Told]:
    """A worker that has left may still say what became of its tasks: their fences decide."""
    if not worker_id.startswith(workers.PREFIX):
        with db.read() as conn:
            workers.find(conn, worker_id)
    return settling.settle_told(db, worker_id, told)


def _inputs(db: Database, worker_id: str, said: models.WorkInputsAsked) -> dict[str, Any]:
    fence = said.claim.fence
    key = Key(fence.flow_id, fence.seq)
    found: dict[str, Any] = {}
    with db.read() as conn:
        workers.find(conn, worker_id)
        if fence not in held_by(conn, worker_id):
            raise Refused(problems.STALE_CLAIM, "this worker does not hold that claim")
        if "results" in said.what:
            found["results"] = {str(seq): value for seq, value in inputs.results_of(conn, key.flow_id).items()}
        if "upstream" in said.what:
            found["upstream"] = inputs.upstream_of(conn, key)
        if "arrivals" in said.what:
            found["arrivals"] = [{**one._asdict(), "at": one.at.isoformat()} for one in inputs.arrivals_of(conn, key)]
    return found


def _work(given: Given) -> dict[str, Any]:
    task = given.task
    claim = {"flow_id": task.key.flow_id, "exec_seq": task.key.seq, "claim_id": task.claim_id, "attempt": task.attempt}
    return {
        "claim": claim,
        "task_id": task.task_id,
        "task_seq": task.task_seq,
        "name": task.name,
        "program": task.program,
        "parameters": {**given.of_flow, **given.own},
        "from_flow": sorted(given.of_flow.keys() - given.own.keys()),
        "secrets": given.secrets,
        "flow_parameters": given.of_flow,
        "fence": task.claim_no,
        "timeout_s": task.timeout_s,
        "exclusive": task.is_exclusive,
    }


_SAID = (problems.TOO_LARGE, problems.FORBIDDEN, *problems.READING, problems.OUTCOME_UNKNOWN)
_OF_WORKER = (problems.UNKNOWN_WORKER, *_SAID)


def _endpoint(method: str, path: str, run: Any, summary: str, answers: Any, takes: Any = None, **more: Any) -> Endpoint:
    known = {"takes": takes, "role": Role.WORKER, "problems": _OF_WORKER, **more}
    return Endpoint(method, PATH + path, run, summary, answers, **known)


_ONE = "/{worker_id}"
ENDPOINTS = (
    _endpoint(
        "POST", "", enlist_worker, "Enlist a remote worker", models.WorkerEnlisted, models.WorkerEnlist, problems=_SAID
    ),
    _endpoint("POST", f"{_ONE}/beat", beat_worker, "Extend a worker's lease", models.WorkerBeaten, models.WorkerBeat),
    _endpoint("POST", f"{_ONE}/claim", claim_work, "Claim tasks, or wait for some", models.Works, models.WorkWanted),
    _endpoint(
        "POST",
        f"{_ONE}/settle",
        settle_work,
        "Say what became of claims",
        models.AllSettled,
        models.SettleBatch,
        problems=(problems.STALE_CLAIM, *_OF_WORKER),
    ),
    _endpoint("POST", f"{_ONE}/log", log_work, "Add to the logs of tries that run", models.WorkLogKept, models.WorkLog),
    _endpoint(
        "POST",
        f"{_ONE}/inputs",
        read_inputs,
        "Read results of earlier tasks, and what a task awaited",
        models.WorkInputs,
        models.WorkInputsAsked,
        problems=(problems.STALE_CLAIM, *_OF_WORKER),
    ),
    _endpoint("DELETE", _ONE, leave_work, "Let a worker leave: its tasks go back", models.WorkerLeft),
)
