"""Running tasks of a flow again, in the same flow: one, from one on, by pattern, all. Each is a new generation."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from engine import history
from engine.control import generations
from engine.control.acting import Chosen, Meant, TaskRow, Verb, missing, perform_on, read_tasks, read_whole
from engine.control.flows import IS_OPEN, close, closed, open_sub_flows
from engine.control.selection import Wish, pick
from engine.database import Database
from engine.errors import BadRequest, PenstockError
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.graph.edges import IS_FORWARD, LOOP
from engine.keys import chunks
from engine.states import Reason, Status
from engine.tables import run_edge, task_stat

MAX_PATTERN = 200
"""Characters of a regular expression."""


class Rerun(Verb):
    """The tasks that are meant, with the flags everything behind or ahead of them too, any depth."""

    what = "task rerun"
    statuses = tuple(Status)

    def interest(self) -> None:
        return None

    def __init__(
        self,
        policy: Policy = DEFAULT_POLICY,
        *,
        upstream: bool = False,
        downstream: bool = False,
        force: bool = False,
    ) -> None:
        self.policy = policy
        self.upstream = upstream
        self.downstream = downstream
        self.force = force

    def choose(self, conn: Connection, db: Database, meant: Meant, *, lock: bool) -> Chosen:
        chosen = Chosen(refused=missing(conn, meant.flow_ids))
        flow_ids = sorted(set(meant.flow_ids) - chosen.refused.keys())
        flows = _by_flow(read_whole(conn, db, flow_ids, lock=lock))
        parents, looping = _parents(conn, flows), _looping(conn, flows)
        for flow_id, roots in self._roots(conn, db, meant, flows).items():
            rows = flows[flow_id]
            wish = Wish(
                frozenset(roots),
                self.upstream,
                self.downstream,
                strict=meant.seqs is not None,
                force=self.force,
                loops=flow_id in looping,
            )
            try:
                picked = pick(flow_id, rows, parents[flow_id], wish, self.policy)
            except PenstockError as error:
                chosen.refuse(flow_id, error)
                continue
            chosen.take(rows[seq] for seq in picked.again)
            chosen.superseded += [rows[seq] for seq in picked.superseded]
        orphans = open_sub_flows(conn, [*chosen.rows, *chosen.superseded])
        while orphans:
            rows_of = read_whole(conn, db, orphans, IS_OPEN, lock=lock)
            chosen.others += rows_of
            orphans = open_sub_flows(conn, rows_of)
        return chosen

    def _roots(
        self, conn: Connection, db: Database, meant: Meant, flows: Mapping[str, Mapping[int, TaskRow]]
    ) -> dict[str, Collection[int]]:
        if meant.is_whole:
            return {flow_id: set(rows) for flow_id, rows in flows.items()}
        if meant.seqs is not None:
            return dict.fromkeys(flows, meant.seqs)
        found: dict[str, set[int]] = {}
        for row in read_tasks(conn, db, meant, self.statuses, lock=False):
            if meant.fits(row):
                found.setdefault(row.task_flow_id, set()).add(row.task_exec_seq)
        return {flow_id: seqs for flow_id, seqs in found.items() if flow_id in flows}

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        close(conn, chosen.others, Reason.CANCELLED, actor)
        generations.set_back(conn, db, chosen.rows, chosen.superseded, policy=self.policy, actor=actor)

    def details(self, row: TaskRow) -> dict[str, Any]:
        return {"generation": row.generation + 1, "was": Status(row.exec_status).name, "reason": row.reason}

    def events(self, chosen: Chosen, actor: str, said: Mapping[str, Any]) -> list[history.Event]:
        dropped = [
            history.Event("task superseded", row.task_flow_id, row.task_exec_seq, actor, dict(said))
            for row in chosen.superseded
        ]
        ended = closed(chosen.others, "flow cancelled", actor, {**said, "with": "the task that started it"})
        return super().events(chosen, actor, said) + dropped + ended


def rerun(
    db: Database,
    flow_id: str,
    seqs: Collection[int],
    *,
    upstream: bool = False,
    downstream: bool = False,
    force: bool = False,
    actor: str,
    note: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[int]:
    """Run settled or suspended tasks again, in a flow that has ended or not; with the flags also everything ahead of
    them (`upstream`) or behind them (`downstream`). Others are left as they are: those behind that have not settled
    wait once more, those that have stay. What a re-run task had planned is superseded, its sub-flows are cancelled.

    Shape: the run numbers that run again, ascending. Errors: UnknownFlow; BadRequest for a number that the flow does
    not have; Conflict for a task that still waits, runs (unless `force`), depends on one that is not over, is followed
    by one that runs, or stands in an earlier iteration of a loop. Source: synergy's run_one, Flux's clear.
    """
    verb = Rerun(policy, upstream=upstream, downstream=downstream, force=force)
    return perform_on(db, verb, flow_id, seqs, actor, note)


def rerun_from(
    db: Database,
    flow_id: str,
    seq: int,
    *,
    force: bool = False,
    actor: str,
    note: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[int]:
    """Run a task and everything behind it again, any depth. Shape, errors: as `rerun`. Source: synergy's run_from."""
    return rerun(db, flow_id, [seq], downstream=True, force=force, actor=actor, note=note, policy=policy)


def rerun_matching(
    db: Database,
    flow_id: str,
    pattern: str,
    *,
    upstream: bool = False,
    downstream: bool = False,
    force: bool = False,
    actor: str,
    note: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[int]:
    """Run the tasks again whose name or program the regular expression is found in, with the flags as in `rerun`. Those
    that have not begun are left as they are.

    Shape: the run numbers that run again, ascending; empty if nothing fits. Errors: as `rerun`; BadRequest for a
    pattern that is none. Source: Flux's `clear -t`.
    """
    texts = texts_matching(db, pattern, [flow_id])
    verb = Rerun(policy, upstream=upstream, downstream=downstream, force=force)
    return perform_on(db, verb, flow_id, None, actor, note, texts=texts)


def rerun_all(
    db: Database,
    flow_id: str,
    *,
    force: bool = False,
    actor: str,
    note: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[int]:
    """Run every task of a flow again, in the same rows: what plans and loops had added is superseded, and made anew.

    Shape: the run numbers that run again, ascending. Errors: UnknownFlow; Conflict if a task runs (unless `force`).
    Source: synergy's run of a key that exists.
    """
    return perform_on(db, Rerun(policy, force=force), flow_id, None, actor, note)


def texts_matching(db: Database, pattern: str, flow_ids: Iterable[str]) -> frozenset[str]:
    """The names of steps and programs in these flows that the pattern is found in. Asked ahead of the transaction, as a
    pattern may take long. Errors: BadRequest."""
    try:
        if len(pattern) > MAX_PATTERN:
            raise BadRequest("name", f"a pattern has at most {MAX_PATTERN} characters, this one has {len(pattern)}")
        found = re.compile(pattern).search
    except re.error as error:
        raise BadRequest("name", f"{pattern!r} is no regular expression: {error}") from None
    texts: set[str] = set()
    with db.read() as conn:
        for part in chunks(sorted(flow_ids)):
            names = select(task_stat.c.name, task_stat.c.program).where(task_stat.c.task_flow_id.in_(part)).distinct()
            texts |= {text for row in conn.execute(names) for text in row if text is not None}
    return frozenset(text for text in texts if found(text))


def _by_flow(rows: Iterable[TaskRow]) -> dict[str, dict[int, TaskRow]]:
    flows: dict[str, dict[int, TaskRow]] = {}
    for row in rows:
        flows.setdefault(row.task_flow_id, {})[row.task_exec_seq] = row
    return flows


def _parents(conn: Connection, flows: Mapping[str, Mapping[int, TaskRow]]) -> dict[str, dict[int, set[int]]]:
    """Who waits for whom, by flow. Edges that lead back to an earlier step are the loops' own."""
    edge, task = run_edge.c, task_stat.c
    found: dict[str, dict[int, set[int]]] = {flow_id: {seq: set() for seq in rows} for flow_id, rows in flows.items()}
    for part in chunks(sorted(flows)):
        first = select(task.task_flow_id, task.task_exec_seq, task.depends_task_exec_seq)
        further = select(edge.task_flow_id, edge.task_exec_seq, edge.depends_task_exec_seq).where(IS_FORWARD)
        in_row = conn.execute(first.where(task.task_flow_id.in_(part), task.depends_task_exec_seq > 0))
        beside = conn.execute(further.where(edge.task_flow_id.in_(part)))
        for flow_id, seq, parent in [*in_row, *beside]:
            if seq in found[flow_id]:
                found[flow_id][seq].add(parent)
    return found


def _looping(conn: Connection, flow_ids: Iterable[str]) -> set[str]:
    """Those of the flows that have loops."""
    edge = run_edge.c
    found: set[str] = set()
    for part in chunks(sorted(flow_ids)):
        loops = edge.task_flow_id.in_(part), edge.kind == LOOP
        found |= set(conn.scalars(select(edge.task_flow_id).where(*loops).distinct()))
    return found
