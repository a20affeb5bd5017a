"""Many registrations at once have the rows that each would have had alone, however they travel."""

from __future__ import annotations

from typing import Any

import pytest
from factories import define_graph, rows, sql, together
from sqlalchemy import delete, event

from engine.database import Database
from engine.definition import copies, product
from engine.errors import PoisonData
from engine.flows import Registration, register
from engine.keys import Key
from engine.tables import flow_stat, run_edge, task_stat
from register.commits import commit_all

DIAMOND = ((1, 2), (1, 3), (2, 4), (3, 4))
OWN = {"task_flow_id", "registered_ts", "deadline_ts", "parent_flow_id"}


@pytest.fixture
def workflow(db: Database) -> str:
    """A diamond with options of every type, and values that are easily spoilt on the way."""
    define_graph(db, "w", DIAMOND, program="P", param1_key="ключ", param1_value='"\\ 🦆\n', task_priority=7)
    sql(db, "INSERT INTO ms_workflow (task_id, timeout_s, failure_policy) VALUES ('w', 3600.5, 'stop')")
    columns = "task_id, task_seq, name, max_attempts, retry_backoff, queue, timeout_s"
    sql(db, f"INSERT INTO ms_task_option ({columns}) VALUES ('w', 2, 'Ünïcode', 3, 1.5, 'q', 0.1)")
    return "w"


def registered(db: Database, wishes: list[Registration]) -> None:
    db.transact(lambda conn: register(conn, db, wishes))


def alike(db: Database) -> list[dict[tuple[Any, ...], Any]]:
    """What flows have in common: the rows of each table, without what is a flow's own. One entry for each flow."""
    flows: dict[str, dict[tuple[Any, ...], Any]] = {}
    for table in (flow_stat, task_stat, run_edge):
        for row in rows(db, table):
            values = row._asdict()
            key = table.name, *(values.get(name) for name in ("task_exec_seq", "depends_task_exec_seq"))
            kept = {name: value for name, value in values.items() if name not in OWN}
            flows.setdefault(row.task_flow_id, {})[key] = kept
    return list(flows.values())


def emptied(db: Database) -> None:
    with db.transaction() as conn:
        for table in (run_edge, task_stat, flow_stat):
            conn.execute(delete(table))


@pytest.mark.parametrize(
    "wish", [{}, {"priority": -3}, {"parameters": {"other": "ü"}}, {"parameters": {"ключ": 1}}, {"run_key": "2026"}]
)
def test_many_at_once_are_as_one_alone(db: Database, workflow: str, wish: dict[str, Any]) -> None:
    registered(db, [Registration(workflow, **wish)])
    (alone,) = alike(db)
    emptied(db)
    registered(db, [Registration(workflow, **wish) for _ in range(2 * product.LEAST_ROWS)])
    every = alike(db)
    assert len(every) == 2 * product.LEAST_ROWS
    assert all(one == alone for one in every)
    assert all(row.registered_ts is not None for row in [*rows(db, flow_stat), *rows(db, task_stat)])


def test_each_keeps_what_is_its_own(db: Database, workflow: str) -> None:
    of = [Registration(workflow, priority=number, parent=Key("p", number)) for number in range(20)]
    given = [Registration(workflow, {"ключ": number}) for number in range(20)]
    registered(db, [*of, *given])
    found = {row.task_flow_id: row for row in rows(db, task_stat) if row.task_exec_seq == 1}
    assert [found[wish.flow_id].task_priority for wish in of] == list(range(20))
    assert [found[wish.flow_id].parameters for wish in given] == [f'{{"ключ":{number}}}' for number in range(20)]
    parents = {row.task_flow_id: (row.parent_flow_id, row.parent_exec_seq) for row in rows(db, flow_stat)}
    assert [parents[wish.flow_id] for wish in of] == [("p", number) for number in range(20)]


def test_several_workflows_in_one_transaction(db: Database, workflow: str) -> None:
    define_graph(db, "v", [(1, 2)])
    names = [workflow, "v"] * 15
    wishes = [Registration(name) for name in names]
    registered(db, wishes)
    counts = {wish.flow_id: 0 for wish in wishes}
    for row in rows(db, task_stat):
        counts[row.task_flow_id] += 1
    assert list(counts.values()) == [4, 2] * 15


def test_texts_that_are_too_long_for_one_document_arrive(
    db: Database, workflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(db, [Registration(workflow)])
    (alone,) = alike(db)
    emptied(db)
    monkeypatch.setattr(product, "MOST_CHARS", 20)
    copies._travels.cache_clear()
    registered(db, [Registration(workflow) for _ in range(product.LEAST_ROWS)])
    copies._travels.cache_clear()
    assert alike(db) == [alone] * product.LEAST_ROWS


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_text_that_its_column_has_no_room_for_is_refused_and_not_cut(db: Database) -> None:
    same = {"task_id": "w", "task_seq": 1, "parameters": "{}", "program": "p" * 257}
    rows_of = [{"task_flow_id": "f", "task_exec_seq": seq, **same} for seq in range(2 * product.LEAST_ROWS)]
    with pytest.raises(PoisonData), db.transaction() as conn:
        product.insert_rows(conn, task_stat, rows_of)


def test_statements_do_not_grow_with_the_flows(db: Database, workflow: str) -> None:
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    registered(db, [Registration(workflow)])
    statements.clear()
    registered(db, [Registration(workflow) for _ in range(200)])
    assert sum("INSERT" in statement for statement in statements) == 3


def test_two_that_register_at_once(db: Database, workflow: str) -> None:
    def one() -> None:
        outcomes = commit_all(db, [Registration(workflow) for _ in range(100)])
        assert not [outcome for outcome in outcomes.values() if isinstance(outcome, Exception)]

    together(one, one, one)
    assert len(rows(db, flow_stat)) == 300
    assert len(rows(db, task_stat)) == 1200
