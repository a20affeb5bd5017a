"""Changing parameters: of tasks that wait or are suspended, and of a flow."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, select, update

from engine import history, jsontext
from engine.control.acting import Chosen, Meant, TaskRow, Verb, keys, perform_on, refuse_others
from engine.database import Database
from engine.errors import BadRequest, Conflict
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of
from engine.states import Status
from engine.tables import IS_ACTIVE, flow_stat, task_stat


class SetParameters(Verb):
    """Of tasks. Merged into what a task has, or instead of it."""

    what = "parameters set"
    statuses = (Status.WAIT, Status.SUSPEND)
    column = task_stat.c.parameters

    def __init__(self, parameters: Mapping[str, Any], *, replace: bool = False) -> None:
        self.given = checked(parameters)
        self.replace = replace

    def choose(self, conn: Connection, db: Database, meant: Meant, *, lock: bool) -> Chosen:
        chosen = super().choose(conn, db, meant, lock=lock)
        refuse_others(conn, db, meant, chosen, "parameters are set before a task runs, or while it is suspended")
        task = task_stat.c
        for part in chunks(keys(chosen.rows)):
            for row in conn.execute(select(*KEY_COLUMNS, task.parameters).where(among(part))):
                if row.task_flow_id in chosen.refused:
                    continue
                chosen.was[key_of(row)] = row.parameters
                try:
                    chosen.texts[key_of(row)] = merged(row.parameters, self.given, self.replace)
                except jsontext.NotJSON as error:
                    words = f"task {row.task_exec_seq} of flow {row.task_flow_id!r}: {error}"
                    chosen.refuse(row.task_flow_id, BadRequest("parameters", words))
        return chosen

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        groups: dict[str, list[Key]] = {}
        for key in keys(chosen.rows):
            groups.setdefault(chosen.texts[key], []).append(key)
        for text, alike in groups.items():
            for part in chunks(alike):
                conn.execute(update(task_stat).where(among(part)).values(parameters=text))
        self._untemplate(conn, keys(chosen.rows))

    def _untemplate(self, conn: Connection, these: Collection[Key]) -> None:
        """What a person gives is a value as it stands, never a template."""
        task = task_stat.c
        changed: list[dict[str, Any]] = []
        for part in chunks(sorted(these)):
            query = select(*KEY_COLUMNS, task.templates).where(among(part), task.templates.isnot(None))
            for row in conn.execute(query):
                left = [] if self.replace else _without(row.templates, self.given)
                changed.append(
                    {"flow": row.task_flow_id, "seq": row.task_exec_seq, "left": json.dumps(left) if left else None}
                )
        if changed:
            of_task = task.task_flow_id == bindparam("flow"), task.task_exec_seq == bindparam("seq")
            conn.execute(update(task_stat).where(*of_task).values(templates=bindparam("left")), changed)

    def was(self, chosen: Chosen, row: TaskRow) -> str | None:
        return chosen.was[key_of(row)]

    def details(self, row: TaskRow) -> dict[str, Any]:
        return {"names": sorted(self.given), "replace": self.replace}


class SetFlowParameters(Verb):
    """Of flows."""

    what = "flow parameters set"
    statuses = (Status.WAIT, Status.SUSPEND)
    of_flows = True
    column = None

    def __init__(self, parameters: Mapping[str, Any], *, replace: bool = False) -> None:
        self.given = checked(parameters)
        self.replace = replace

    def interest(self) -> ColumnElement[bool]:
        return IS_ACTIVE

    def choose(self, conn: Connection, db: Database, meant: Meant, *, lock: bool) -> Chosen:
        chosen = super().choose(conn, db, meant, lock=lock)
        flow = flow_stat.c
        query = select(flow.task_flow_id, flow.parameters, flow.flow_status)
        query = query.where(flow.task_flow_id.in_(sorted(set(meant.flow_ids) - chosen.refused.keys())))
        if lock and db.can.row_locks:
            query = query.with_for_update()
        chosen.flow_ids = []
        for row in conn.execute(query.order_by(flow.task_flow_id)):
            if row.flow_status in (Status.FINISH, Status.IGNORE):
                remedy = "no task of it will read them; `rerun` its tasks, or register a new flow"
                chosen.refuse(row.task_flow_id, Conflict(f"flow {row.task_flow_id!r}", "has ended", remedy))
                continue
            try:
                text = merged(row.parameters or "{}", self.given, self.replace)
            except jsontext.NotJSON as error:
                chosen.refuse(row.task_flow_id, BadRequest("parameters", f"flow {row.task_flow_id!r}: {error}"))
                continue
            chosen.was[Key(row.task_flow_id, 0)] = row.parameters
            chosen.texts[Key(row.task_flow_id, 0)] = text
            chosen.flow_ids.append(row.task_flow_id)
        return chosen

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        changed = [{"flow": flow_id, "text": chosen.texts[Key(flow_id, 0)]} for flow_id in chosen.flow_ids]
        of_flow = flow_stat.c.task_flow_id == bindparam("flow")
        conn.execute(update(flow_stat).where(of_flow).values(parameters=bindparam("text")), changed)

    def events(self, chosen: Chosen, actor: str, said: Mapping[str, Any]) -> list[history.Event]:
        details = {"names": sorted(self.given), "replace": self.replace, **said}
        return [history.Event(self.what, flow_id, 0, actor, details) for flow_id in chosen.flow_ids]


def set_parameters(
    db: Database,
    flow_id: str,
    parameters: Mapping[str, Any],
    seqs: Collection[int] | None = None,
    *,
    replace: bool = False,
    actor: str,
    note: str | None = None,
) -> list[int]:
    """Give tasks that wait or are suspended other parameters: merged into theirs by name, or in place of all.

    Shape: the run numbers that were changed, ascending. Errors: UnknownFlow; BadRequest for parameters that are no JSON
    object, too large, or cannot be merged into what the row holds; Conflict for a named task that runs or has settled.
    """
    return perform_on(db, SetParameters(parameters, replace=replace), flow_id, seqs, actor, note)


def set_flow_parameters(
    db: Database,
    flow_id: str,
    parameters: Mapping[str, Any],
    *,
    replace: bool = False,
    actor: str,
    note: str | None = None,
) -> list[int]:
    """Change the parameters of a flow that has not ended: they fill what a program declares and its task leaves open. A
    task that took a value from them at registration keeps it; `set_parameters` changes that.

    Shape: the run numbers of the tasks that are still to run, ascending. Errors: UnknownFlow; BadRequest; Conflict for
    a flow that has ended.
    """
    return perform_on(db, SetFlowParameters(parameters, replace=replace), flow_id, None, actor, note)


def checked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(parameters, Mapping) or not all(isinstance(name, str) for name in parameters):
        raise BadRequest("parameters", "must be a JSON object: texts as names, JSON as values")
    given = dict(parameters)
    try:
        jsontext.dumps(given, max_bytes=jsontext.MAX_RESULT_BYTES)
    except jsontext.NotJSON as error:
        raise BadRequest("parameters", str(error)) from error
    return given


def merged(text: str | None, given: Mapping[str, Any], replace: bool) -> str:
    """The new document. Errors: NotJSON if the old one cannot be merged with, or the new one is too large."""
    if replace:
        return jsontext.dumps(dict(given), max_bytes=jsontext.MAX_RESULT_BYTES)
    try:
        old = jsontext.loads_object(text)
    except jsontext.NotJSON as error:
        raise jsontext.NotJSON(f"what is there {error}; replace it instead") from None
    return jsontext.dumps(old | dict(given), max_bytes=jsontext.MAX_RESULT_BYTES)


def _without(templates: str, given: Mapping[str, Any]) -> list[Any]:
    try:
        names = jsontext.loads(templates)
    except jsontext.NotJSON:
        return []
    return [name for name in names if name not in given] if isinstance(names, list) else []
