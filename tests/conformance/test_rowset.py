"""The condition "this row is one of these": the same rows on every database, whatever they have in common."""

from __future__ import annotations

import random

import pytest
from factories import insert_task, sql
from sqlalchemy import select

from engine.database import Database
from engine.keys import KEY_COLUMNS, Fence, Key, among, pair_among
from engine.tables import task_stat

FLOWS = [f"f{number:02}" for number in range(12)]
TASKS = 6


@pytest.fixture(autouse=True)
def rows(db: Database) -> None:
    for flow_id in FLOWS:
        for seq in range(1, TASKS + 1):
            claim_id = f"c{seq % 3}"
            insert_task(db, flow_id, seq, claim_id=claim_id, depends_task_exec_seq=seq // 2 or -1)
    sql(db, "UPDATE kr_task_stat SET claim_id = NULL WHERE task_flow_id = 'f11' AND task_exec_seq = 6")


def found(db: Database, condition: object) -> set[Key]:
    with db.read() as conn:
        return {Key(*row) for row in conn.execute(select(*KEY_COLUMNS).where(condition))}  # type: ignore[arg-type]


@pytest.mark.parametrize("flows", [1, 2, 3, 5, 8, 9, 12])
def test_keys(db: Database, flows: int) -> None:
    dice = random.Random(flows)
    for count in (1, 2, 7, 30):
        keys = {Key(dice.choice(FLOWS[:flows]), dice.randint(1, TASKS + 2)) for _ in range(count)}
        assert found(db, among(keys)) == {key for key in keys if key.seq <= TASKS}


@pytest.mark.parametrize("flows", [1, 2, 3, 5, 8, 9, 12])
def test_fences(db: Database, flows: int) -> None:
    dice = random.Random(flows)
    for count in (1, 2, 7, 30):
        for claims in (["c0"], ["c0", "c1"], ["c0", "c1", "c2"]):
            seqs = range(1, TASKS + 1)
            drawn = [(dice.choice(FLOWS[:flows]), dice.choice(seqs), dice.choice(claims)) for _ in range(count)]
            fences = {Fence(*one) for one in drawn}
            expected = {
                Key(one.flow_id, one.seq)
                for one in fences
                if one.claim_id == f"c{one.seq % 3}" and (one.flow_id, one.seq) != ("f11", 6)
            }
            assert found(db, among(fences)) == expected


@pytest.mark.parametrize("flows", [1, 3, 12])
def test_other_columns(db: Database, flows: int) -> None:
    parents = {Key(flow_id, before) for flow_id in FLOWS[:flows] for before in (1, 3)}
    behind = pair_among(task_stat.c.task_flow_id, task_stat.c.depends_task_exec_seq, parents)
    assert found(db, behind) == {Key(flow_id, seq) for flow_id in FLOWS[:flows] for seq in (2, 3, 6)}


def test_a_condition_beside_others(db: Database) -> None:
    keys = [Key("f00", 1), Key("f01", 2), Key("f01", 3)]
    both = among(keys) & (task_stat.c.task_exec_seq > 1)
    assert found(db, both) == {Key("f01", 2), Key("f01", 3)}, "groups are bound together before anything else"
    assert len(found(db, ~among(keys))) == len(FLOWS) * TASKS - 3


def test_null_is_like_nothing(db: Database) -> None:
    assert found(db, among([Fence("f11", 6, None), Fence("f11", 3, "c0")])) == {Key("f11", 3)}  # type: ignore[arg-type]
