"""What a program may read of its flow, fetched from the database when it first asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from engine import inputs
from engine.keys import Key
from engine.preparing.scoping import DatabaseScope, Scoping
from programs.contract import Arrival


class Reader(Scoping, Protocol):
    """Where the inputs of tasks come from."""

    def results(self, flow_id: str) -> Mapping[int, Any]: ...
    def upstream(self, key: Key) -> Sequence[Any]: ...
    def arrivals(self, key: Key) -> Sequence[Arrival]: ...


class DatabaseReader(DatabaseScope):
    """Reads from the database, on connections that are kept for programs."""

    def results(self, flow_id: str) -> Mapping[int, Any]:
        with self._db.read() as conn:
            return inputs.results_of(conn, flow_id)

    def upstream(self, key: Key) -> Sequence[Any]:
        with self._db.read() as conn:
            return inputs.upstream_of(conn, key)

    def arrivals(self, key: Key) -> Sequence[Arrival]:
        with self._db.read() as conn:
            return [Arrival(*found) for found in inputs.arrivals_of(conn, key)]
