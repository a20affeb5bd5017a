"""synergy_flow's paths: a flow with its steps and their graph, its logs, and running parts of it again.

What changes something takes POST, and is refused with 409 where the original answered 204 all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Connection, Row
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from engine.access import Role
from engine.compat import synergy
from engine.compat.synergy import find, step_of, steps_of
from engine.control.acting import Meant, Verb, perform
from engine.control.rerun import Rerun
from engine.control.suspension import Recover
from engine.database import Database
from register import problems
from register.actors import actor_of
from register.answers import Answer
from register.compat.answering import in_their_way, query_of, run_in
from register.endpoints import Endpoint
from register.problems import Refused

NOT_FINISHED = "Job is not finished"


class SynergyFlowQuery(BaseModel):
    """Which flow: the workflow, and the run key of its newest flow."""

    flow_name: str | None = Field(default=None, min_length=1, max_length=256)
    process_name: str | None = Field(default=None, max_length=256, description="stands for flow_name where that lacks")
    timeperiod: str = Field(min_length=1, max_length=256)
    unit_of_work_type: str | None = Field(default=None, max_length=256, description="without a meaning here")

    @property
    def name(self) -> str:
        return (self.flow_name or self.process_name or "").strip()


class SynergyStepQuery(SynergyFlowQuery):
    step_name: str = Field(min_length=1, max_length=256)


class SynergyModeQuery(SynergyFlowQuery):
    run_mode: Literal["run_mode_nominal", "run_mode_recovery"]


class SynergyStep(BaseModel):
    """A step: its state, times, three sets of actions and neighbours."""

    step_name: str
    state: str
    is_pre_completed: bool
    is_main_completed: bool
    is_post_completed: bool
    pre_actions: list[dict[str, Any]]
    main_action: dict[str, Any] | None
    post_actions: list[dict[str, Any]]
    previous_nodes: list[str]
    next_nodes: list[str]
    duration: float | None


class SynergyFlow(BaseModel):
    """A flow: `graph` is its `steps`, with `start` and `finish` besides."""

    flow_name: str
    timeperiod: str | None
    state: str
    steps: dict[str, SynergyStep]
    graph: dict[str, Any]


class SynergyLog(BaseModel):
    """The lines, or in `response` that there are none."""

    log: list[str] | None = None
    response: str | None = None


class SynergyAnswer(BaseModel):
    response: str


@in_their_way
async def flow_details(request: Request) -> Response:
    return Answer(await _read(request, SynergyFlowQuery, lambda conn, flow, _: synergy.flow_document(conn, flow)))


@in_their_way
async def step_details(request: Request) -> Response:
    return Answer(
        await _read(request, SynergyStepQuery, lambda conn, flow, it: synergy.step_document(conn, flow, it.step_name))
    )


@in_their_way
async def flow_log(request: Request) -> Response:
    lines = await _read(request, SynergyFlowQuery, lambda conn, flow, _: synergy.log_lines(conn, flow, None))
    return Answer({"log": lines} if lines else {"response": "no related workflow log"})


@in_their_way
async def step_log(request: Request) -> Response:
    def read(conn: Connection, flow: Row[Any], query: SynergyStepQuery) -> list[str]:
        return synergy.log_lines(conn, flow, step_of(steps_of(conn, flow), flow, query.step_name).seqs)

    lines = await _read(request, SynergyStepQuery, read)
    return Answer({"log": lines} if lines else {"response": "no related step log"})


@in_their_way
async def flow_viewer(request: Request) -> Response:
    told = await _read(request, SynergyFlowQuery, lambda conn, flow, _: synergy.flow_document(conn, flow))
    return HTMLResponse(_page(told))


@in_their_way
async def set_run_mode(request: Request) -> Response:
    """Recover a flow, or run all of it again, at once: there is no later run that a mark could wait for."""
    query = query_of(request, SynergyModeQuery)
    verb = Recover() if query.run_mode == "run_mode_recovery" else Rerun()
    await _act(request, query, verb, lambda conn, flow: None, finished=query.run_mode == "run_mode_nominal")
    return Response(status_code=204)


def _rerun(name: str, make: Callable[[], Verb]) -> Any:
    async def run(request: Request) -> Response:
        query = query_of(request, SynergyStepQuery)

        def seqs(conn: Connection, flow: Row[Any]) -> list[int]:
            return step_of(steps_of(conn, flow), flow, query.step_name).seqs

        await _act(request, query, make(), seqs, finished=True)
        return Answer({"response": "OK"})

    run.__name__ = name
    return in_their_way(run)


run_one_step = _rerun("run_one_step", Rerun)
run_from_step = _rerun("run_from_step", lambda: Rerun(downstream=True))


async def _read(request: Request, model: type[Any], read: Callable[[Connection, Row[Any], Any], Any]) -> Any:
    query, reach = query_of(request, model), actor_of(request).reach

    def work(db: Database) -> Any:
        with db.read() as conn:
            return read(conn, find(conn, query.name, query.timeperiod.strip(), reach), query)

    return await run_in(request, work)


async def _act(
    request: Request,
    query: SynergyFlowQuery,
    verb: Verb,
    seqs_of: Callable[[Connection, Row[Any]], list[int] | None],
    *,
    finished: bool,
) -> None:
    """Apply a verb in one transaction. Errors: Refused, if it takes a flow that has ended and this one has not."""
    actor = actor_of(request)

    def work(conn: Connection, db: Database) -> None:
        flow = find(conn, query.name, query.timeperiod.strip(), actor.reach)
        if finished and not synergy.is_finished(flow):
            raise Refused(problems.CONFLICT, NOT_FINISHED, response=NOT_FINISHED)
        seqs = seqs_of(conn, flow)
        meant = Meant((flow.task_flow_id,), None if seqs is None else frozenset(seqs))
        for error in perform(conn, db, verb, meant, actor.name, None).refused.values():
            raise error

    await run_in(request, lambda db: db.transact(lambda conn: work(conn, db)))


def _page(flow: dict[str, Any]) -> str:
    """The flow as a page of text: steps in order, with their states and neighbours."""
    head = f"{flow['flow_name']} {flow['timeperiod']}: {flow['state']}"
    names = ("step_name", "state", "duration", "previous_nodes", "next_nodes")
    rows = [
        "".join(f"<td>{escape(synergy.shown(step[name]))}</td>" for name in names) for step in flow["steps"].values()
    ]
    titles = "".join(f"<th>{name}</th>" for name in names)
    body = f"<h1>{escape(head)}</h1><table><tr>{titles}</tr><tr>{'</tr><tr>'.join(rows)}</tr></table>"
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(head)}</title>{body}</html>"


_DATABASE = (problems.PRESSED, problems.UNAVAILABLE, problems.FATAL)
_READ = (problems.BAD_INPUT, problems.UNKNOWN_FLOW, *_DATABASE)
_CHANGE = (problems.CONFLICT, problems.FORBIDDEN, problems.OUTCOME_UNKNOWN, *_READ)


def _get(path: str, run: Any, summary: str, answers: Any, query: Any) -> Endpoint:
    return Endpoint("GET", path, run, f"synergy: {summary}", answers, query=query, problems=_READ)


def _post(path: str, run: Any, summary: str, answers: Any, query: Any) -> Endpoint:
    more: dict[str, Any] = {"query": query, "role": Role.OPERATOR, "problems": _CHANGE}
    return Endpoint("POST", path, run, f"synergy: {summary}", answers, **more)


ENDPOINTS = (
    _get("/flow/flow/details/", flow_details, "show a flow with its steps", SynergyFlow, SynergyFlowQuery),
    _get("/flow/step/details/", step_details, "show a step", SynergyStep, SynergyStepQuery),
    _get("/flow/flow/log/", flow_log, "read a flow's log", SynergyLog, SynergyFlowQuery),
    _get("/flow/step/log/", step_log, "read a step's log", SynergyLog, SynergyStepQuery),
    _get("/flow/viewer/", flow_viewer, "show a flow as a page", None, SynergyFlowQuery),
    _post("/flow/run/mode/", set_run_mode, "recover a flow, or run it again", None, SynergyModeQuery),
    _post("/flow/run/one_step/", run_one_step, "run a step again", SynergyAnswer, SynergyStepQuery),
    _post("/flow/run/from_step/", run_from_step, "run a step and what follows again", SynergyAnswer, SynergyStepQuery),
)
