"""Flower's sample rows: status rows written by plain SQL, and what its poll picks, skips and holds back."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from factories import define, flow, insert_task, rows, sql, start, task, tasks
from workshop import Workshop, failing

from engine.database import Database
from engine.states import Reason, Status
from engine.tables import task_stat

pytestmark = pytest.mark.by_turns

DEFINE = "INSERT INTO ms_task_definition(task_id, task_seq, program{more}) VALUES ('{task_id}', {seq}, 'Work'{values})"
STATUS = (
    "INSERT INTO kr_task_stat(task_flow_id, task_exec_seq, depends_task_exec_seq, task_id, task_seq, exec_status,"
    " task_priority, parameters) VALUES ('{flow}', {seq}, {after}, '{task_id}', {seq}, {status}, 0, '{{}}')"
)


def by_sql(db: Database, flow_id: str, *statuses: int, task_id: str = "sample") -> None:
    """A chain whose rows have these statuses, with no other table touched than Flower's two."""
    for seq, status in enumerate(statuses, 1):
        if not any(row.task_id == task_id and row.task_seq == seq for row in rows(db, task_stat)):
            sql(db, DEFINE.format(task_id=task_id, seq=seq, more="", values=""))
        sql(db, STATUS.format(flow=flow_id, seq=seq, after=seq - 1 or -1, task_id=task_id, status=status))


def test_a_chain_of_plain_sql(db: Database, shop: Workshop) -> None:
    """FL2, FL8: the rows are executed in their order."""
    by_sql(db, "by-hand", 0, 0, 0)
    with shop.watching():
        shop.until(lambda: [row.exec_status for row in tasks(db, "by-hand")] == [3, 3, 3])
    assert shop.worked == [1, 2, 3]


@pytest.mark.parametrize("before, picked", [(3, True), (1, False), (2, False), (9, True)])
def test_what_a_task_depends_on_decides(db: Database, shop: Workshop, before: int, picked: bool) -> None:
    """FL13, decision D1: what has finished or is ignored lets run, what runs or is suspended does not."""
    by_sql(db, "judged", before, 0)
    by_sql(db, "other", 0, 0, task_id="other")
    with shop.watching() as watcher:
        shop.until(lambda: task(db, ("other", 2)).exec_status == Status.FINISH)
        shop.until(lambda: watcher._lookout.idle_looks >= 2)
    assert task(db, ("judged", 2)).exec_status == (Status.FINISH if picked else Status.WAIT)


def test_a_row_that_cannot_run_harms_itself_alone(db: Database, shop: Workshop) -> None:
    """FL11, FL20: in Flower, one such row blocks every poll, or ends the watcher."""
    define(db, "sample", program="Work")
    define(db, "unknown", program="NoSuchProgram")
    good = [insert_task(db, f"good{n}", task_id="sample") for n in range(3)]
    broken = insert_task(db, "broken", task_id="sample", parameters="{")
    unknown = insert_task(db, "unknown", task_id="unknown")
    with shop.watching():
        shop.until(lambda: all(task(db, key).exec_status not in (0, 1) for key in (*good, broken, unknown)))
    assert {task(db, key).exec_status for key in good} == {Status.FINISH}
    assert [task(db, key).reason for key in (broken, unknown)] == [Reason.BAD_PARAMETERS, Reason.UNKNOWN_PROGRAM]
    assert "NoSuchProgram" in task(db, unknown).error


def test_the_five_pairs_become_parameters(db: Database, shop: Workshop) -> None:
    """FL9: no value is an empty text, a value without a key is nothing, of two equal keys the later counts."""
    pairs = ", param1_key, param1_value, param2_key, param3_key, param3_value, param4_key, param4_value"
    values = ", NULL, 'lost', 'A', 'B', 'first', 'B', 'second'"
    sql(db, DEFINE.format(task_id="sample", seq=1, more=pairs, values=values))
    got: list[dict[str, Any]] = []
    shop.does[1] = lambda call: got.append(dict(call.params))
    flow_id = start(db, "sample")
    shop.run(flow_id)
    assert got == [{"A": "", "B": "second"}]
    assert json.loads(tasks(db, flow_id)[0].parameters) == got[0]


def test_parameters_are_read_when_the_task_runs(db: Database, shop: Workshop) -> None:
    """FL10: an UPDATE of a row that still waits is seen."""
    got: list[Any] = []
    shop.does[2] = lambda call: got.append(call.params["WHO"])
    by_sql(db, "by-hand", 2, 0)
    sql(db, "UPDATE kr_task_stat SET parameters = :text WHERE task_exec_seq = 2", text='{"WHO": "ann"}')
    sql(db, "UPDATE kr_task_stat SET exec_status = 3 WHERE task_exec_seq = 1")
    with shop.watching():
        shop.until(lambda: got)
    assert got == ["ann"]


def test_the_most_urgent_of_a_hundred_starts_first(db: Database, shop: Workshop) -> None:
    """FL15: one worker; −20 before 19, whichever flow is further along."""
    define(db, "sample", program="Work")
    order = [(n * 7) % 40 - 20 for n in range(100)]
    for n, priority in enumerate(order):
        start(db, "sample", priority=priority, flow_id=f"flow-{n:03}")
    with shop.watching(workers=1):
        shop.until(lambda: len(shop.ran) == 100)
    begun = sorted(rows(db, task_stat), key=lambda row: row.started_ts)
    assert [row.task_priority for row in begun] == sorted(order)


def test_a_cap_for_each_workflow(db: Database, shop: Workshop) -> None:
    """FL16, FL29: three workflows of twenty flows finish, and no two tasks of one workflow run at once."""
    most: dict[str, int] = {}
    running: list[str] = []

    def count(call: Any) -> None:
        running.append(call.task_id)
        most[call.task_id] = max(most.get(call.task_id, 0), running.count(call.task_id))
        time.sleep(0.005)
        running.remove(call.task_id)

    shop.does[1] = count
    for task_id in ("a", "b", "c"):
        define(db, task_id, program="Work")
    flow_ids = [start(db, task_id) for task_id in ("a", "b", "c") for _ in range(20)]
    shop.run(*flow_ids, max_active=1)
    assert most == {"a": 1, "b": 1, "c": 1}


def test_the_culprit_is_found_mended_and_the_rest_follows(db: Database, shop: Workshop) -> None:
    """FL21, FL22, FL23: the error is kept, status 2 is exactly the failed task, and 0 makes it run again."""
    define(db, "sample", 3, program="Work")
    shop.does[2] = failing
    flow_id = start(db, "sample")
    shop.run(flow_id)
    [culprit] = [row for row in rows(db, task_stat) if row.exec_status == Status.SUSPEND]
    assert (culprit.task_seq, culprit.error) == (2, "failed on request")
    assert culprit.suspended_ts is not None
    del shop.does[2]
    with shop.watching():
        sql(db, "UPDATE kr_task_stat SET exec_status = 0 WHERE exec_status = 2")
        shop.until(lambda: flow(db, flow_id).flow_status == Status.FINISH)
    assert shop.worked == [1, 2, 2, 3]
    assert task(db, (flow_id, 2)).suspended_ts is None


def test_an_ignored_task_never_runs(db: Database, shop: Workshop) -> None:
    """FL24, decision D1: what waits for it does."""
    define(db, "sample", 3, program="Work")
    flow_id = start(db, "sample")
    sql(db, "UPDATE kr_task_stat SET exec_status = 9 WHERE task_seq = 2")
    shop.run(flow_id)
    assert (shop.worked, shop.ends(flow_id)) == ([1, 3], {1: 3, 2: 9, 3: 3})


def test_with_flowers_rule_nothing_follows_an_ignored_task(db: Database, shop: Workshop) -> None:
    """FL24, decision D1: the setting that switches back."""
    define(db, "sample", 3, program="Work")
    flow_id, other = start(db, "sample"), start(db, "sample")
    sql(db, "UPDATE kr_task_stat SET exec_status = 9 WHERE task_seq = 2 AND task_flow_id = :flow", flow=flow_id)
    with shop.watching(ignore_satisfies=False) as watcher:
        shop.until(lambda: flow(db, other).flow_status == Status.FINISH)
        shop.until(lambda: watcher._lookout.idle_looks >= 2)
    assert shop.ends(flow_id) == {1: 3, 2: 9, 3: 0}


def test_steps_do_not_wait_for_a_poll(db: Database, shop: Workshop) -> None:
    """FL39: ten steps in less than one interval, where Flower takes up to one for each."""
    define(db, "sample", 10, program="Work")
    flow_id = start(db, "sample")
    shop.run(flow_id, interval_s=60.0)
    first, *_, last = tasks(db, flow_id)
    assert (last.finished_ts - first.started_ts).total_seconds() < 60
