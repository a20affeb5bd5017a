"""What expressions and templates may see of a flow: its parameters, its results so far, and itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, func, select

from engine.inputs import document
from engine.keys import chunks
from engine.states import Status
from engine.tables import flow_stat, task_stat

NAMES: Final = ("result", "error", "iteration", "params", "results", "flow")
"""What an expression may name. The first three are those of one task, and come from whoever asks."""


class Results(Mapping[str, Any]):
    """The results of the finished steps of a flow, by name and by number; each is read when it is first asked for.

    Of a step that ran several times (loops, plans) the instance with the highest `task_exec_seq` counts. A step
    that returned nothing is there, with None; one that has not finished is not there.
    """

    def __init__(self, places: Mapping[str, int], load: Callable[[Sequence[int]], Mapping[int, Any]]) -> None:
        self._places = places
        self._load = load
        self._loaded: dict[int, Any] = {}
        self._all = False

    def __getitem__(self, step: str) -> Any:
        place = self._places[step]
        if place not in self._loaded:
            wanted = set(self._places.values()) - self._loaded.keys() if self._all else {place}
            self._loaded.update(self._load(sorted(wanted)))
        return self._loaded.get(place)

    def __contains__(self, step: object) -> bool:
        return step in self._places

    def __iter__(self) -> Iterator[str]:
        self._all = True  # whoever goes through the names and then asks gets all of them in one read
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Scopes:
    """The scopes of flows, inside one transaction: each part of a flow is read once, and only if somebody names it."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._flows: dict[str, Any] = {}
        self._parts: dict[tuple[str, str], Any] = {}

    def of(self, flow_id: str, names: Collection[str], **own: Any) -> dict[str, Any]:
        """The variables of these names: `own` ones as they are given, the flow's from the database.

        Shape: `params` an object (what is no object counts as {}); `flow` has `id`, `task_id`, `run_key` and
        `registered_ts` (ISO text in UTC); `results` a Results. Names that are neither are left out.
        """
        scope: dict[str, Any] = {}
        for name in names:
            if name in own:
                scope[name] = own[name]
            elif name in _READERS:
                if (flow_id, name) not in self._parts:
                    self._parts[flow_id, name] = _READERS[name](self, flow_id)
                scope[name] = self._parts[flow_id, name]
        return scope

    def _flow(self, flow_id: str) -> Any:
        """The row of the flow, or None."""
        if flow_id not in self._flows:
            flow = flow_stat.c
            columns = select(flow.task_id, flow.run_key, flow.registered_ts, flow.parameters)
            self._flows[flow_id] = self._conn.execute(columns.where(flow.task_flow_id == flow_id)).first()
        return self._flows[flow_id]

    def _params(self, flow_id: str) -> dict[str, Any]:
        row = self._flow(flow_id)
        found = document(row.parameters) if row else None
        return found if isinstance(found, dict) else {}

    def _about(self, flow_id: str) -> dict[str, Any]:
        row = self._flow(flow_id)  # rows made by hand may have no flow
        if row is None:
            return {"id": flow_id, "task_id": None, "run_key": None, "registered_ts": None}
        at = row.registered_ts and row.registered_ts.isoformat()
        return {"id": flow_id, "task_id": row.task_id, "run_key": row.run_key, "registered_ts": at}

    def _results(self, flow_id: str) -> Results:
        return Results(latest(self._conn, flow_id), lambda seqs: load_results(self._conn, flow_id, seqs))


_READERS: Final[dict[str, Callable[[Scopes, str], Any]]] = {
    "params": Scopes._params,
    "flow": Scopes._about,
    "results": Scopes._results,
}


def latest(conn: Connection, flow_id: str) -> dict[str, int]:
    """For each finished step of a flow, by its name and by str(task_seq): the run number of its latest instance."""
    task = task_stat.c
    query = select(task.name, task.task_seq, func.max(task.task_exec_seq).label("latest"))
    steps = query.where(task.task_flow_id == flow_id, task.exec_status == Status.FINISH, task.phase.is_(None))
    found = sorted(conn.execute(steps.group_by(task.name, task.task_seq)), key=lambda row: row.latest)
    numbered = {str(row.task_seq): row.latest for row in found}
    return numbered | {row.name: row.latest for row in found if row.name is not None}


def load_results(conn: Connection, flow_id: str, seqs: Sequence[int]) -> dict[int, Any]:
    """What these tasks of a flow returned, by run number."""
    results: dict[int, Any] = {}
    for part in chunks(seqs):
        query = select(task_stat.c.task_exec_seq, task_stat.c.result)
        chosen = query.where(task_stat.c.task_flow_id == flow_id, task_stat.c.task_exec_seq.in_(part))
        results.update({seq: document(result) for seq, result in conn.execute(chosen)})
    return results
