"""What a program may read of its flow, fetched from the database when it first asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from engine import inputs
from engine.database import Database
from engine.expression.scope import Results, Scopes, latest, load_results
from engine.keys import Key
from programs.contract import Arrival


class Reader(Protocol):
    """Where the inputs of tasks come from."""

    def results(self, flow_id: str) -> Mapping[int, Any]: ...
    def upstream(self, key: Key) -> Sequence[Any]: ...
    def arrivals(self, key: Key) -> Sequence[Arrival]: ...
    def scope(self, flow_id: str, names: Collection[str]) -> dict[str, Any]: ...


class DatabaseReader:
    """Reads from the database, on connections that are kept for programs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def results(self, flow_id: str) -> Mapping[int, Any]:
        with self._db.read() as conn:
            return inputs.results_of(conn, flow_id)

    def upstream(self, key: Key) -> Sequence[Any]:
        with self._db.read() as conn:
            return inputs.upstream_of(conn, key)

    def arrivals(self, key: Key) -> Sequence[Arrival]:
        with self._db.read() as conn:
            return [Arrival(*found) for found in inputs.arrivals_of(conn, key)]

    def scope(self, flow_id: str, names: Collection[str]) -> dict[str, Any]:
        """What expressions and templates see (engine/expression/scope.py); each result is read when first asked for."""
        with self._db.read() as conn:
            scope = Scopes(conn).of(flow_id, set(names) - {"results"})
            if "results" in names:
                scope["results"] = Results(latest(conn, flow_id), partial(self._load, flow_id))
        return scope

    def _load(self, flow_id: str, seqs: Sequence[int]) -> Mapping[int, Any]:
        with self._db.read() as conn:
            return load_results(conn, flow_id, seqs)
