"""Where templates and mappings read of a flow what they name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from engine.database import Database
from engine.expression.scope import Results, Scopes, latest, load_results


class Scoping(Protocol):
    """What expressions and templates see of a flow (engine/expression/scope.py)."""

    def scope(self, flow_id: str, names: Collection[str]) -> dict[str, Any]: ...


class DatabaseScope:
    """Reads it from the database; each result is read when it is first asked for."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def scope(self, flow_id: str, names: Collection[str]) -> dict[str, Any]:
        """Errors: those of the database."""
        with self._db.read() as conn:
            scope = Scopes(conn).of(flow_id, set(names) - {"results"})
            if "results" in names:
                scope["results"] = Results(latest(conn, flow_id), partial(self._load, flow_id))
        return scope

    def _load(self, flow_id: str, seqs: Sequence[int]) -> Mapping[int, Any]:
        with self._db.read() as conn:
            return load_results(conn, flow_id, seqs)
