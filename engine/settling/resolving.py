"""What settlements come to, before anything is written: a wish that the rows do not allow is a failure, a failure that
an edge handles needs nobody, and a loop goes round once more or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row

from engine.database import Database
from engine.graph import branching, choosing, edges
from engine.graph.edges import LOOP, NORMAL, Edge
from engine.growth import looping, loops, plans, subflows
from engine.growth.loops import LoopEdge
from engine.keys import Key
from engine.settling.settlement import Settlement, Verdict
from engine.states import FAILURES, Reason


@dataclass
class Resolved:
    """The settlements as they are to be written, in the order given, and what else follows from them."""

    settlements: list[Settlement]
    out: list[Edge] = field(default_factory=list)
    """The edges behind what ends."""
    chosen: dict[Key, frozenset[Key]] = field(default_factory=dict)
    """The tasks that each task which made a choice goes on with."""
    turning: list[LoopEdge] = field(default_factory=list)
    """The loop edges that are taken."""


def resolve(
    conn: Connection,
    db: Database,
    settlements: Sequence[Settlement],
    verdicts: Sequence[Verdict],
    rows: Mapping[Key, Row[Any]],
) -> Resolved:
    """Look at what the accepted settlements ask for. Sub-flows begin here."""
    given = {
        item.task.key: item for item, verdict in zip(settlements, verdicts, strict=True) if verdict is Verdict.ACCEPTED
    }
    now = dict(given)
    _refuse_impossible(conn, db, now)
    resolved = Resolved([])
    resolved.out = edges.behind(conn, [key for key, item in now.items() if _ends(item)], loops=True)
    _choose(conn, now, resolved)
    _loop(conn, now, resolved, rows)
    _handle(conn, now, resolved.out, rows)
    for item in settlements:
        is_meant = given.get(item.task.key) is item
        resolved.settlements.append(now[item.task.key] if is_meant else item)
    return resolved


def has_failed(item: Settlement) -> bool:
    """Does it say that the program failed, for good?"""
    return item.kind == "suspend" and item.reason in FAILURES


def _ends(item: Settlement) -> bool:
    return item.kind == "finish" or has_failed(item)


def _refused(item: Settlement, words: str, reason: str = Reason.BAD_RESULT) -> Settlement:
    bare = item._replace(result=None, choose=None, wait=None, plan=None)
    return bare._replace(kind="suspend", reason=reason, error=words)


def _refuse_impossible(conn: Connection, db: Database, now: dict[Key, Settlement]) -> None:
    """Plans that would make too many edges, and sub-flows that cannot be registered."""
    wishes = {key: item.plan for key, item in now.items() if item.plan is not None}
    refused = plans.unjoinable(conn, wishes) if wishes else {}
    of_flows = {key: item.wait for key, item in now.items() if item.wait and item.wait.kind == subflows.KIND}
    if of_flows:
        begun, impossible = subflows.begin(conn, db, of_flows)
        refused |= impossible
        now |= {key: now[key]._replace(wait=wish) for key, wish in begun.items()}
    now |= {key: _refused(now[key], words) for key, words in refused.items()}


def _choose(conn: Connection, now: dict[Key, Settlement], resolved: Resolved) -> None:
    choices = {key: item.choose for key, item in now.items() if item.choose is not None}
    if choices:
        resolved.chosen, wrong = choosing.resolve(conn, choices, resolved.out)
        now |= {key: _refused(now[key], words) for key, words in wrong.items()}


def _loop(conn: Connection, now: dict[Key, Settlement], resolved: Resolved, rows: Mapping[Key, Row[Any]]) -> None:
    """A program that chooses what follows does not go back. A loop that may not go on, or whose condition cannot be
    worked out, suspends the task that was to decide."""
    back = {edge.parent for edge in resolved.out if edge.kind == LOOP and edge.outcome is None}
    deciding = [key for key in back if now[key].kind == "finish" and now[key].choose is None]
    if not deciding:
        return
    facts = {key: branching.facts_of(now[key].result, rows[key].iteration) for key in deciding}
    taken, broken = looping.decide(conn, loops.edges_of(conn, deciding), facts)
    over = loops.exhausted(conn, taken)
    now |= {key: _refused(now[key], words, Reason.BAD_CONDITION) for key, words in broken.items()}
    now |= {key: _refused(now[key], words, Reason.LOOP_LIMIT) for key, words in over.items()}
    resolved.turning = [loop for loop in taken if loop.key not in over]


def _handle(conn: Connection, now: dict[Key, Settlement], out: Sequence[Edge], rows: Mapping[Key, Row[Any]]) -> None:
    failed = {key: item for key, item in now.items() if has_failed(item)}
    if not failed:
        return
    facts = {
        key: branching.facts_of(None, rows[key].iteration, item.reason, item.error) for key, item in failed.items()
    }
    for key in branching.handled(conn, [edge for edge in out if edge.kind != NORMAL], facts):
        now[key] = failed[key]._replace(kind="handle", reason=FAILURES[failed[key].reason or ""])
