"""synergy_flow's view of a flow: named steps with three sets of actions, and a graph from `start` to `finish`.

A synergy flow is found by its name and its time period; here these are a workflow and a run key, and the newest flow
of both is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from engine import jsontext
from engine.access import Reach
from engine.dialects.clock import time_now
from engine.errors import UnknownFlow
from engine.inputs import document
from engine.states import Reason, Status
from engine.tables import attempt, flow_stat, run_edge, task_log, task_stat

START: Final = "start"
FINISH: Final = "finish"
MAX_TASKS: Final = 5_000
MAX_LINES: Final = 10_000
_FLOW_STATES: Final = {0: "embryo", 1: "in_progress", 2: "invalid", 3: "processed", 9: "invalid"}
_STEP_STATES: Final = {0: "embryo", 1: "in_progress", 2: "invalid", 3: "processed", 9: "noop"}
_ENDED: Final = (Status.FINISH, Status.IGNORE)


@dataclass
class Step:
    """The tasks that belong to one step: its own, and those of its phases."""

    name: str
    main: list[Row[Any]] = field(default_factory=list)
    pre: list[Row[Any]] = field(default_factory=list)
    post: list[Row[Any]] = field(default_factory=list)

    @property
    def rows(self) -> list[Row[Any]]:
        return [*self.pre, *self.main, *self.post]

    @property
    def seqs(self) -> list[int]:
        return [row.task_exec_seq for row in self.rows]


def find(conn: Connection, flow_name: str, timeperiod: str, reach: Reach) -> Row[Any]:
    """The newest flow of this name and period. Errors: UnknownFlow."""
    if not reach.covers(flow_name) or "\x00" in flow_name + timeperiod:
        raise UnknownFlow(f"{flow_name}@{timeperiod}"[:256].replace("\x00", ""))
    flow = flow_stat.c
    named = flow.run_key == timeperiod, flow.task_id == flow_name, flow.registered_ts.isnot(None)
    query = select(flow_stat).where(*named).order_by(flow.registered_ts.desc(), flow.task_flow_id.desc()).limit(1)
    row = conn.execute(query).first()
    if row is None:
        raise UnknownFlow(f"{flow_name}@{timeperiod}")
    return row


def is_finished(flow: Row[Any]) -> bool:
    return flow.flow_status in _ENDED


def steps_of(conn: Connection, flow: Row[Any]) -> dict[str, Step]:
    """The steps of a flow by their names: a step without a name is called by its number. What a program planned while
    it ran is listed by run number."""
    query = select(task_stat).where(task_stat.c.task_flow_id == flow.task_flow_id)
    rows = conn.execute(query.order_by(task_stat.c.task_exec_seq).limit(MAX_TASKS)).all()
    steps: dict[str, Step] = {}
    by_seq: dict[int, Step] = {}
    for row in rows:
        if row.phase is None and row.made_by_exec_seq is None:
            step = by_seq.setdefault(row.task_seq, Step(row.name or str(row.task_seq)))
            step.main.append(row)
    for row in rows:
        if row.made_by_exec_seq is not None:
            name = row.name or f"{row.task_seq}.{row.task_exec_seq}"
            steps.setdefault(name, Step(name)).main.append(row)
        elif row.phase is not None:
            step = by_seq.setdefault(row.task_seq, Step(str(row.task_seq)))
            {"pre": step.pre, "post": step.post}.get(row.phase, step.post).append(row)
    return {**{step.name: step for step in by_seq.values()}, **steps}


def flow_document(conn: Connection, flow: Row[Any]) -> dict[str, Any]:
    steps = steps_of(conn, flow)
    before = _before(conn, flow, steps)
    now = time_now(conn)
    told = {name: _step(flow, step, before, now) for name, step in steps.items()}
    return {
        "_id": flow.task_flow_id,
        "flow_name": flow.task_id,
        "timeperiod": flow.run_key,
        "state": _FLOW_STATES.get(flow.flow_status, "embryo"),
        "created_at": _time(flow.registered_ts),
        "started_at": _time(flow.started_ts),
        "finished_at": _time(flow.finished_ts),
        "steps": told,
        "graph": _graph(told),
    }


def step_document(conn: Connection, flow: Row[Any], step_name: str) -> dict[str, Any]:
    """Errors: UnknownFlow, naming the step."""
    steps = steps_of(conn, flow)
    step = step_of(steps, flow, step_name)
    return _step(flow, step, _before(conn, flow, steps), time_now(conn))


def step_of(steps: Mapping[str, Step], flow: Row[Any], step_name: str) -> Step:
    """Errors: UnknownFlow, naming the step."""
    if step_name not in steps:
        raise UnknownFlow(f"{flow.task_id}@{flow.run_key}/{step_name}"[:300])
    return steps[step_name]


def log_lines(conn: Connection, flow: Row[Any], seqs: Sequence[int] | None) -> list[str]:
    """What the latest tries of these tasks logged, in run order; of the whole flow without `seqs`."""
    of, live = attempt.c, task_log.c
    mine = [of.task_flow_id == flow.task_flow_id, of.log.isnot(None)]
    running = [live.task_flow_id == flow.task_flow_id]
    if seqs is not None:
        mine.append(of.task_exec_seq.in_(seqs))
        running.append(live.task_exec_seq.in_(seqs))
    texts: dict[int, str] = {}
    for seq, text in conn.execute(
        select(of.task_exec_seq, of.log).where(*mine).order_by(of.claim_no.desc()).limit(MAX_TASKS)
    ):
        texts.setdefault(seq, text)
    parts: dict[int, str] = {}
    for seq, text in conn.execute(
        select(live.task_exec_seq, live.text).where(*running).order_by(live.log_id).limit(MAX_TASKS)
    ):
        parts[seq] = parts.get(seq, "") + text
    texts |= parts  # a try that runs is later than any that has ended
    return [line for seq in sorted(texts) for line in texts[seq].splitlines()][-MAX_LINES:]


def _before(conn: Connection, flow: Row[Any], steps: Mapping[str, Step]) -> dict[str, list[str]]:
    """The names of the steps that each step waits for."""
    owner = {seq: name for name, step in steps.items() for seq in step.seqs}
    pairs = {(row.task_exec_seq, row.depends_task_exec_seq) for step in steps.values() for row in step.rows}
    edges = select(run_edge.c.task_exec_seq, run_edge.c.depends_task_exec_seq)
    pairs |= {(seq, before) for seq, before in conn.execute(edges.where(run_edge.c.task_flow_id == flow.task_flow_id))}
    found: dict[str, set[str]] = {name: set() for name in steps}
    for seq, before in pairs:
        name, other = owner.get(seq), owner.get(before)
        if name is not None and other is not None and name != other:
            found[name].add(other)
    return {name: sorted(others) for name, others in found.items()}


def _step(flow: Row[Any], step: Step, before: Mapping[str, Sequence[str]], now: datetime) -> dict[str, Any]:
    started = min((row.started_ts for row in step.rows if row.started_ts), default=None)
    ended = all(row.exec_status in _ENDED for row in step.rows)
    finished = max((row.finished_ts for row in step.rows if row.finished_ts), default=None) if ended else None
    until = finished or (now if started else None)
    return {
        "_id": f"{flow.task_flow_id}/{step.rows[0].task_exec_seq}",
        "related_flow": flow.task_flow_id,
        "flow_name": flow.task_id,
        "step_name": step.name,
        "timeperiod": flow.run_key,
        "state": _state(step),
        "created_at": _time(step.rows[0].registered_ts),
        "started_at": _time(started),
        "finished_at": _time(finished),
        "duration": None if started is None or until is None else max(0.0, (until - started).total_seconds()),
        "is_pre_completed": _completed(step.pre),
        "is_main_completed": _completed(step.main),
        "is_post_completed": _completed(step.post),
        "pre_actions": [_action(row) for row in step.pre],
        "main_action": _action(step.main[0]) if step.main else None,
        "post_actions": [_action(row) for row in step.post],
        "previous_nodes": list(before[step.name]),
        "next_nodes": sorted(name for name, others in before.items() if step.name in others),
    }


def _state(step: Step) -> str:
    """A step is as its worst task is: failed, running, begun, done."""
    states = [_of_row(row) for row in step.rows]
    for state in ("invalid", "canceled", "in_progress"):
        if state in states:
            return state
    if "embryo" in states:
        return "embryo" if set(states) == {"embryo"} else "in_progress"
    return "processed" if "processed" in states else "noop"


def _of_row(row: Row[Any]) -> str:
    if row.exec_status == Status.IGNORE and row.reason == Reason.CANCELLED:
        return "canceled"
    return _STEP_STATES.get(row.exec_status, "embryo")


def _completed(rows: Sequence[Row[Any]]) -> bool:
    """A set without actions is complete."""
    return all(row.exec_status in _ENDED for row in rows)


def _action(row: Row[Any]) -> dict[str, Any]:
    return {"action_name": row.program, "state": _of_row(row), "kwargs": document(row.parameters)}


def _graph(steps: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The steps between two that are none: roots hang on `start`, leaves on `finish`."""
    graph = {name: dict(step) for name, step in steps.items()}
    roots = [name for name, step in graph.items() if not step["previous_nodes"]]
    leaves = [name for name, step in graph.items() if not step["next_nodes"]]
    for name in roots:
        graph[name]["previous_nodes"] = [START]
    for name in leaves:
        graph[name]["next_nodes"] = [FINISH]
    ends = {START: {"previous_nodes": [], "next_nodes": roots}, FINISH: {"previous_nodes": leaves, "next_nodes": []}}
    bare: dict[str, Any] = {"pre_actions": [], "main_action": None, "post_actions": []}
    return graph | {name: {"step_name": name, **bare, **nodes} for name, nodes in ends.items()}


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def shown(value: Any) -> str:
    """A value as text, for a page."""
    return value if isinstance(value, str) else jsontext.dumps(value)
