"""Random graphs with random conditions, rules, failures and choices, run to the end on each database in random batches:
every task at most once, none before its time, and all ends as a pure model has them.

`PENSTOCK_TEST_EXAMPLES=500` tries that many new graphs; without it the same few are tried each time.
"""

from __future__ import annotations

import os
import random
from typing import Any

from factories import claim, enlisted, flow, settle_as, sweep, tasks
from graph_model import FAILED, FINISHED, HANDLED, SKIPPED, WAITS, Answer, Graph, ModelEdge
from graphs import make_flow
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from invariants import hold

from engine.claimed import ClaimedTask
from engine.database import Database
from engine.settle import Settlement
from engine.states import Reason, Status
from engine.tables import metadata

EXAMPLES = os.environ.get("PENSTOCK_TEST_EXAMPLES")
RULES = ["all", "all", "all", "all_taken", "any", "all_done", "one_failed", "none_failed", "cleanup"]
END = {
    FINISHED: (Status.FINISH, None),
    SKIPPED: (Status.IGNORE, Reason.SKIPPED),
    WAITS: (Status.WAIT, None),
}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(2, 9))
    edges: list[ModelEdge] = []
    for after in range(2, count + 1):
        for before in draw(st.sets(st.integers(max(1, after - 4), after - 1), max_size=3)):
            kind = draw(st.sampled_from(["normal"] * 8 + ["error", "timeout"]))
            equals = draw(st.none() | st.integers(0, 2)) if kind == "normal" else None
            edges.append(ModelEdge(before, after, kind, equals))
    edges = [_default(draw, edge, edges) for edge in edges]
    rules = draw(st.dictionaries(st.integers(1, count), st.sampled_from(RULES)))
    answers = {task: draw(_answers(task, edges)) for task in range(1, count + 1)}
    return Graph(count, tuple(edges), rules, answers)


def _default(draw: st.DrawFn, edge: ModelEdge, edges: list[ModelEdge]) -> ModelEdge:
    beside = [other for other in edges if other.before == edge.before and other.equals is not None]
    if edge.kind == "normal" and edge.equals is None and beside and draw(st.booleans()):
        return ModelEdge(edge.before, edge.after, is_default=True)
    return edge


def _answers(task: int, edges: list[ModelEdge]) -> st.SearchStrategy[Answer]:
    behind = sorted(edge.after for edge in edges if edge.before == task and edge.kind == "normal")
    numbers = st.builds(Answer, result=st.integers(0, 2))
    fails = st.builds(Answer, fails=st.sampled_from(["failed", "timed out", "bad result"]))
    chooses = st.builds(Answer, chooses=st.frozensets(st.sampled_from(behind)) if behind else st.just(frozenset()))
    return st.one_of(numbers, numbers, numbers, fails, chooses)


def as_flow(db: Database, graph: Graph) -> str:
    edges: list[Any] = []
    for edge in graph.edges:
        extras: dict[str, Any] = {} if edge.kind == "normal" else {"kind": edge.kind}
        if edge.equals is not None:
            extras["only_if"] = f"result == {edge.equals}"
        if edge.is_default:
            extras["is_default"] = True
        edges.append((edge.before, edge.after, extras) if extras else (edge.before, edge.after))
    columns = {task: {"trigger_rule": graph.rules.get(task)} for task in range(1, graph.tasks + 1)}
    return make_flow(db, edges, columns=columns)


def settlement(item: ClaimedTask, answer: Answer) -> Settlement:
    if answer.fails is not None:
        return Settlement(item, "suspend", reason=answer.fails, error="no")
    chosen = None if answer.chooses is None else tuple(sorted(answer.chooses))
    return Settlement(item, "finish", result=str(answer.result), choose=chosen)


@settings(
    max_examples=int(EXAMPLES or 30),
    derandomize=EXAMPLES is None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(graph=graphs(), seed=st.integers(0, 10_000))
def test_every_flow_ends_as_the_model_says(db: Database, graph: Graph, seed: int) -> None:
    """The order in which tasks are claimed and settled is random, by a seed of its own."""
    chance = random.Random(seed)
    with db.transaction() as conn:
        for table in reversed(metadata.sorted_tables):
            conn.execute(table.delete())
    enlisted(db)
    flow_id = as_flow(db, graph)
    ran: list[int] = []
    held: list[ClaimedTask] = []
    while True:
        held += claim(db, chance.randint(1, 4))
        if not held:
            break
        now = chance.sample(held, chance.randint(1, len(held)))
        settle_as(db, [settlement(item, graph.answer(item.key.seq)) for item in now])
        ran += [item.key.seq for item in now]
        held = [item for item in held if item not in now]
        sweep(db)
    assert len(ran) == len(set(ran))
    _compare(db, flow_id, graph)
    hold(db)


def _compare(db: Database, flow_id: str, graph: Graph) -> None:
    expected = graph.ends()
    for row in tasks(db, flow_id):
        wanted = expected[row.task_exec_seq]
        if wanted == FAILED:
            assert (row.exec_status, row.reason) == (Status.SUSPEND, graph.answer(row.task_exec_seq).fails)
        elif wanted == HANDLED:
            assert row.exec_status == Status.IGNORE
            assert "handled" in row.reason
        else:
            assert (row.exec_status, row.reason) == END[wanted], f"task {row.task_exec_seq}"
    wanted_flow = Status.SUSPEND if FAILED in expected.values() else Status.FINISH
    assert flow(db, flow_id).flow_status == wanted_flow
