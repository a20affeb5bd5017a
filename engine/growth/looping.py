"""Whether loops go round once more: the conditions of loop edges, worked out before the deciding task finishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from engine.errors import BadExpression
from engine.expression.evaluator import names_in, truth
from engine.expression.scope import Scopes
from engine.growth.loops import LoopEdge
from engine.keys import Key


def decide(
    conn: Connection, edges: Mapping[Key, Sequence[LoopEdge]], facts: Mapping[Key, Mapping[str, Any]]
) -> tuple[list[LoopEdge], dict[Key, str]]:
    """The loop edge that each of these tasks takes, if any: the first whose condition is true. And, for tasks with a
    condition that cannot be worked out, the words for a person. `facts`: the task's own result and iteration."""
    scopes = Scopes(conn)
    taken: list[LoopEdge] = []
    broken: dict[Key, str] = {}
    for key, loops in edges.items():
        try:
            taken += [loop for loop in loops if _is_wanted(loop, scopes, facts[key])][:1]
        except BadExpression as error:
            broken[key] = f"the condition of a loop back from task {key.seq}: {error}"
    return taken, broken


def _is_wanted(loop: LoopEdge, scopes: Scopes, facts: Mapping[str, Any]) -> bool:
    if loop.only_if is None:
        return True
    return truth(loop.only_if, scopes.of(loop.flow_id, names_in(loop.only_if), **facts))
