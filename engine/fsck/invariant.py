"""One invariant: what must hold, the query that finds the rows for which it does not, and what to do about these.

The queries are text, not SQLAlchemy Core: they are the specification's own, a person tries them by hand on whichever
database, and they use only what SQLite, MariaDB, MySQL and PostgreSQL share. They are an independent witness, so they
share no code with the engine that they judge.

A query returns `task_flow_id`, `task_exec_seq` (0 where it is about a flow, or about no task), and then what a person
wants to know. `{t}` in it stands for "the rows of alias t that are looked at now" (engine/fsck/scope.py): flows are
looked at a page at a time, and everything that a query joins belongs to the same flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ERROR: Final = "error"
"""A promise is broken."""
WARNING: Final = "warning"
"""Nothing is lost, but a row says something that is not so."""


@dataclass(frozen=True)
class Invariant:
    """`at_rest`: it need hold only once nothing is left to run; the others hold after every commit, and for rows that a
    person changed once a watcher has seen them. `repair` names the function of engine/fsck/repairing.py that mends it,
    None where only a person can; `remedy` says it in words."""

    name: str
    statement: str
    query: str
    remedy: str
    repair: str | None = None
    severity: str = ERROR
    at_rest: bool = False
