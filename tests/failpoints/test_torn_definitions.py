"""A definition that is edited while flows are made of it: each flow is all of one version."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from factories import rows
from sqlalchemy import Connection, delete, insert

from engine.database import Database, open_database
from engine.documents import replacing, text
from engine.flows import Registered, Registration
from engine.tables import flow_stat, run_edge, task_definition, task_edge, task_option, task_stat, workflow
from register.commits import commit_all

VERSIONS: dict[str, tuple[int, list[tuple[int, int]]]] = {
    "Old": (4, [(1, 2), (1, 3), (2, 4), (3, 4)]),
    "New": (6, [(1, 2), (1, 3), (1, 4), (2, 5), (3, 5), (4, 5), (5, 6)]),
}
"""Of each version the steps and the edges; its name is in every row."""
REGISTRATIONS = 60


def write(conn: Connection, name: str) -> None:
    """Replace the whole workflow, as a person does in one transaction."""
    for table in (task_edge, task_option, task_definition, workflow):
        conn.execute(delete(table).where(table.c.task_id == "w"))
    steps, edges = VERSIONS[name]
    seqs = [{"task_id": "w", "task_seq": seq} for seq in range(1, steps + 1)]
    conn.execute(insert(workflow).values(task_id="w", parameters=f'{{"version": "{name}"}}'))
    conn.execute(insert(task_definition), [{**seq, "program": name} for seq in seqs])
    conn.execute(insert(task_option), [{**seq, "queue": name} for seq in seqs])
    conn.execute(insert(task_edge), [{"task_id": "w", "task_seq": b, "depends_task_seq": a} for a, b in edges])


def write_document(conn: Connection, db: Database, name: str) -> None:
    """The same by a document."""
    steps, edges = VERSIONS[name]
    said = {
        "task_id": "w",
        "parameters": {"version": name},
        "steps": [
            {"program": name, "queue": name, "after": [before for before, after in edges if after == seq]}
            for seq in range(1, steps + 1)
        ],
    }
    replacing.replace(conn, db, replacing.Wish(text.check(said)))


Writer = Callable[[Connection, Database, str], None]


@pytest.mark.parametrize(
    "replace",
    [pytest.param(lambda conn, _, name: write(conn, name), id="by hand"), pytest.param(write_document, id="document")],
)
def test_a_flow_is_all_of_one_version(db: Database, replace: Writer) -> None:
    db.transact(lambda conn: replace(conn, db, "Old"))
    over = threading.Event()
    written: list[str] = []

    def edit() -> None:
        other = open_database(db.url.render_as_string(hide_password=False))
        while not over.is_set():
            for name in ("New", "Old"):
                other.transact(lambda conn, name=name: replace(conn, other, name))
                written.append(name)
                time.sleep(random.uniform(0, 0.01))  # a file is written by whoever comes first
        other.close()

    writer = threading.Thread(target=edit)
    writer.start()
    try:
        made = 0
        while len(written) < 10 or made < REGISTRATIONS:
            made += 1
            wishes = [Registration("w") for _ in range(3)]
            outcomes = commit_all(db, wishes)
            assert {type(outcome) for outcome in outcomes.values()} == {Registered}, outcomes
    finally:
        over.set()
        writer.join(60)
    found = [shape_of(*flow) for flow in flows_with_rows(db)]
    assert {shape.version for shape in found} == set(VERSIONS), "both versions were met"
    for shape in found:
        steps, edges = VERSIONS[shape.version]
        assert shape == Shape(shape.version, steps, {shape.version}, {shape.version}, set(edges))


class Shape(NamedTuple):
    """What a flow took from its definition, by the rows that each came from."""

    version: str
    steps: int
    programs: set[str]
    queues: set[str]
    edges: set[tuple[int, int]]


def shape_of(flow: Any, tasks: list[Any], edges: list[Any]) -> Shape:
    behind = {(row.depends_task_exec_seq, row.task_exec_seq) for row in (*tasks, *edges)}
    return Shape(
        "New" if "New" in flow.parameters else "Old",
        flow.task_count,
        {row.program for row in tasks},
        {row.queue for row in tasks},
        {edge for edge in behind if edge[0] > 0},
    )


def flows_with_rows(db: Database) -> Iterator[tuple[Any, list[Any], list[Any]]]:
    tasks, edges = defaultdict(list), defaultdict(list)
    for of, table in ((tasks, task_stat), (edges, run_edge)):
        for row in rows(db, table):
            of[row.task_flow_id].append(row)
    for flow in rows(db, flow_stat):
        yield flow, tasks[flow.task_flow_id], edges[flow.task_flow_id]
