"""A verb over many flows: what a filter finds, what a dry run counts, what the real run does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from factories import claim, define, define_graph, enlisted, flow, rows, run_all, settle_as, sql, start, states, task
from invariants import hold
from sqlalchemy import insert

from engine import control
from engine.control import Count, Filter, bulk
from engine.control.bulk import VERBS
from engine.database import Database, open_database
from engine.errors import BadRequest
from engine.keys import Key
from engine.settle import Settlement
from engine.states import Reason, Status
from engine.tables import event, flow_stat, metadata, task_stat


@pytest.fixture
def many(db: Database) -> dict[str, str]:
    """Six flows of two workflows, by run key: in `a` all have failed at their first task, in `b` nothing has begun."""
    define(db, "a", steps=2)
    define(db, "b", steps=2, program="Other")
    keys = [f"2026-01-0{day}" for day in (1, 2, 3)]
    found = {f"{name} {key}": start(db, name, run_key=key) for name in ("a", "b") for key in keys}
    enlisted(db)
    control.pause(db, found["b 2026-01-01"], actor="x")
    for item in claim(db, 3):
        settle_as(db, [Settlement(item, "suspend", reason=Reason.FAILED, error="x")])
    assert {flow(db, found[f"a {key}"]).flow_status for key in keys} == {Status.SUSPEND}
    return found


def everything(db: Database) -> list[list[Any]]:
    return [rows(db, table) for table in metadata.sorted_tables]


def test_a_dry_run_counts_and_changes_nothing(db: Database, many: dict[str, str]) -> None:
    before = everything(db)
    expected = {
        "retry": (3, 3, {2: 3}),
        "recover": (4, 5, {2: 5}),
        "resume": (1, 2, {2: 2}),
        "pause": (5, 7, {0: 7}),
        "cancel": (6, 12, {0: 7, 2: 5}),
        "ignore": (6, 12, {0: 7, 2: 5}),
        "finish": (6, 12, {0: 7, 2: 5}),
        "rerun": (4, 5, {2: 5}),
        "run_again": (6, 0, {}),
    }
    for verb, (flows, tasks, statuses) in expected.items():
        count = bulk(db, verb, Filter(run_key_from="2026"), actor="ann")
        assert count == Count(True, flows, tasks, statuses), verb
    assert bulk(db, "set_priority", Filter(run_key_from="2026"), actor="ann", priority=1).tasks == 12
    assert bulk(db, "set_parameters", Filter(run_key_from="2026"), actor="ann", parameters={"n": 1}).tasks == 12
    assert bulk(db, "set_flow_parameters", Filter(run_key_from="2026"), actor="ann", parameters={}).flows == 6
    assert {*expected, "set_priority", "set_parameters", "set_flow_parameters"} == VERBS.keys()
    assert everything(db) == before


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_real_run_does_what_the_dry_run_counted(db: Database, many: dict[str, str], verb: str) -> None:
    given: dict[str, Any] = {
        "set_priority": {"priority": 1},
        "set_parameters": {"parameters": {"n": 1}},
        "set_flow_parameters": {"parameters": {"n": 1}},
    }.get(verb, {})
    where = Filter(run_key_from="2026-01-01", run_key_to="2026-01-02")
    counted = bulk(db, verb, where, actor="ann", **given)
    others = [flow(db, many[f"{name} 2026-01-03"]) for name in "ab"]
    done = bulk(db, verb, where, actor="ann", note="why", dry_run=False, **given)
    assert (done.flows, done.tasks, done.statuses) == (counted.flows, counted.tasks, counted.statuses)
    assert done.flows > 0
    assert [flow(db, many[f"{name} 2026-01-03"]) for name in "ab"] == others
    told = [row for row in rows(db, event) if row.actor == "ann"]
    assert all(json.loads(row.details)["note"] == "why" for row in told)
    assert told[-1].what == f"bulk {verb}"
    details = json.loads(told[-1].details)
    assert details["where"] == {"run_key_from": "2026-01-01", "run_key_to": "2026-01-02"}
    assert (details["flows"], details["tasks"]) == (done.flows, done.tasks)
    hold(db)


SOON = datetime(2199, 1, 1, tzinfo=UTC)
FILTERS: dict[str, tuple[Filter, int]] = {
    "workflow": (Filter(task_id="a"), 6),
    "workflow as written": (Filter(task_id="A"), 0),
    "flow status": (Filter(flow_status=2), 8),
    "keys from": (Filter(run_key_from="2026-01-02"), 8),
    "keys to": (Filter(run_key_to="2026-01-01"), 4),
    "keys from and to": (Filter(run_key_from="2026-01-02", run_key_to="2026-01-02"), 4),
    "registered before": (Filter(registered_before=SOON), 12),
    "registered after": (Filter(registered_after=SOON), 0),
    "task status": (Filter(status=2), 5),
    "reason": (Filter(reason="failed"), 3),
    "program": (Filter(program="Other"), 6),
    "name": (Filter(name="^Oth"), 6),
    "name of a step": (Filter(name="load$"), 1),
    "several": (Filter(task_id="b", status=2, run_key_from="2026"), 2),
    "no flow": (Filter(flow_ids=[]), 0),
    "flows that are not": (Filter(flow_ids=["x"]), 0),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters(db: Database, many: dict[str, str], name: str) -> None:
    sql(
        db,
        "UPDATE kr_task_stat SET name = 'load' WHERE task_exec_seq = 1 AND task_flow_id = :f",
        f=many["a 2026-01-01"],
    )
    where, tasks = FILTERS[name]
    assert bulk(db, "ignore", where, actor="ann").tasks == tasks
    assert bulk(db, "ignore", where, actor="ann", dry_run=False).tasks == tasks
    assert sum(row.exec_status == Status.IGNORE for row in rows(db, task_stat)) == tasks
    hold(db)


def test_flows_by_their_ids(db: Database, many: dict[str, str]) -> None:
    wanted = [many["a 2026-01-01"], many["b 2026-01-02"], many["a 2026-01-01"]]
    assert bulk(db, "cancel", Filter(flow_ids=wanted), actor="ann", dry_run=False).flows == 2
    assert sorted(row.task_flow_id for row in rows(db, flow_stat) if row.flow_status == 9) == sorted(set(wanted))


def test_a_verb_on_flows_takes_those_that_have_such_a_task(db: Database, many: dict[str, str]) -> None:
    count = bulk(db, "cancel", Filter(reason=Reason.FAILED), actor="ann", dry_run=False)
    assert (count.flows, count.tasks) == (3, 6), "all that is open in them"
    hold(db)


def test_fx31_clear_a_range_of_periods_by_pattern(db: Database, many: dict[str, str]) -> None:
    """From and to, past and future: -s and -e of Flux; the tasks that match and what is behind them, nothing else."""
    bulk(db, "recover", Filter(task_id="a"), actor="ann", dry_run=False)
    bulk(db, "resume", Filter(task_id="b"), actor="ann", dry_run=False)
    run_all(db)
    where = Filter(task_id="a", run_key_from="2026-01-02", name="Noop", status=3)
    assert bulk(db, "rerun", where, actor="ann").tasks == 4
    bulk(db, "rerun", where, actor="ann", dry_run=False)
    assert states(db, many["a 2026-01-01"]) == [(3, -1), (3, -1)]
    assert states(db, many["a 2026-01-02"]) == states(db, many["a 2026-01-03"]) == [(0, 0), (0, 1)]
    hold(db)
    assert len(run_all(db)) == 4
    hold(db, at_rest=True)


def test_fx26_mark_a_range_as_success(db: Database, many: dict[str, str]) -> None:
    count = bulk(db, "finish", Filter(task_id="a"), actor="ann", dry_run=False, result={"by": "hand"})
    assert (count.flows, count.tasks) == (3, 6)
    assert {flow(db, many[f"a 2026-01-0{day}"]).flow_status for day in (1, 2, 3)} == {Status.FINISH}
    hold(db)


def test_what_is_refused_is_named_and_spoils_nothing(db: Database) -> None:
    define_graph(db, "g", [(1, 2)])
    flows = [start(db, "g") for _ in range(3)]
    enlisted(db)
    run_all(db)
    control.rerun(db, flows[1], [1], actor="ann")
    claim(db)
    for dry_run in (True, False):
        count = bulk(db, "rerun", Filter(task_id="g"), actor="ann", dry_run=dry_run)
        assert (count.flows, count.tasks) == (2, 4)
        assert count.refused.keys() == {flows[1]}
        assert "task 1 of flow" in count.refused[flows[1]]
        assert "is running" in count.refused[flows[1]]
    assert states(db, flows[1]) == [(1, 0), (3, -1)]
    hold(db)


def test_bad_rows_are_refused_alone(db: Database, many: dict[str, str]) -> None:
    broken = many["a 2026-01-02"]
    sql(db, "UPDATE kr_task_stat SET parameters = 'x' WHERE task_flow_id = :flow", flow=broken)
    sql(db, "UPDATE kr_flow_stat SET parameters = 'x' WHERE task_flow_id = :flow", flow=broken)
    for verb, given in (("set_parameters", {"parameters": {"n": 1}}), ("run_again", {})):
        count = bulk(db, verb, Filter(task_id="a"), actor="ann", dry_run=False, **given)
        assert (count.flows, list(count.refused)) == (2, [broken])
    sql(db, "DELETE FROM ms_task_definition WHERE task_id = 'b'")
    count = bulk(db, "run_again", Filter(run_key_from="2026-01-03"), actor="ann", dry_run=False)
    assert (count.flows, list(count.refused)) == (2, [many["b 2026-01-03"]]), "one of a, and the new one of it"
    hold(db)


def test_the_limit_is_kept_and_told(db: Database, many: dict[str, str]) -> None:
    count = bulk(db, "cancel", Filter(run_key_from="2026"), actor="ann", dry_run=False, limit=4)
    assert (count.flows, count.is_cut) == (4, True)
    assert sum(row.flow_status == 9 for row in rows(db, flow_stat)) == 4
    count = bulk(db, "cancel", Filter(run_key_from="2026"), actor="ann", dry_run=False, limit=2)
    assert (count.flows, count.is_cut) == (2, False)
    hold(db)


def test_flows_are_taken_two_hundred_to_a_transaction(db: Database) -> None:
    instant = datetime.now(UTC) - timedelta(hours=1)
    flows = [f"f{number:03}" for number in range(450)]
    common = {"task_id": "w", "task_seq": 1, "parameters": "{}", "program": "Noop", "registered_ts": instant}
    with db.transaction() as conn:
        rows_of = [{"task_flow_id": flow_id, "task_exec_seq": 1, "wait_count": 0, **common} for flow_id in flows]
        conn.execute(insert(task_stat), rows_of)
        of = {"task_id": "w", "task_count": 1, "registered_ts": instant}
        conn.execute(insert(flow_stat), [{"task_flow_id": flow_id, **of} for flow_id in flows])
    steps: list[int] = []
    other = open_database(db.url.render_as_string(hide_password=False))

    def look(count: Count) -> None:
        steps.append(count.flows)
        assert sum(row.flow_status == 9 for row in rows(other, flow_stat)) == count.flows, "committed by now"

    try:
        bulk(db, "cancel", Filter(task_id="w"), actor="ann", dry_run=False, progress=look)
    finally:
        other.close()
    assert steps == [200, 400, 450]
    hold(db)


BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "is none of cancel, finish": ("explode", {}),
    "priority": ("set_priority", {}),
    "unexpected keyword": ("cancel", {"when": "now"}),
    "20 is outside": ("set_priority", {"priority": 20}),
    "limit: 0 is outside": ("cancel", {"limit": 0}),
    "limit: 10001 is outside": ("cancel", {"limit": 10_001}),
}


@pytest.mark.parametrize("words", BAD)
def test_bad_requests(db: Database, many: dict[str, str], words: str) -> None:
    verb, given = BAD[words]
    with pytest.raises(BadRequest, match=words):
        bulk(db, verb, Filter(task_id="a"), actor="ann", dry_run=False, **given)


@pytest.mark.parametrize(
    "given, words",
    [
        ({}, "where: names nothing: give one of task_id"),
        ({"status": 4}, "status: 4 is no status: one of 0 WAIT"),
        ({"flow_status": 7}, "flow_status: 7 is no"),
        ({"registered_after": datetime(2026, 1, 1)}, "registered_after: .* has no time zone"),
    ],
)
def test_bad_filters(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        Filter(**given)


def test_a_pattern_that_is_none(db: Database, many: dict[str, str]) -> None:
    with pytest.raises(BadRequest, match=r"name: '\(' is no regular expression"):
        bulk(db, "cancel", Filter(name="("), actor="ann")


def test_recover_brings_cancelled_flows_back(db: Database, many: dict[str, str]) -> None:
    bulk(db, "cancel", Filter(task_id="b"), actor="ann", dry_run=False)
    count = bulk(db, "recover", Filter(task_id="b"), actor="ann", dry_run=False)
    assert (count.flows, count.tasks, count.statuses) == (3, 6, {9: 6})
    assert task(db, Key(many["b 2026-01-01"], 1)).wait_count == 0
    hold(db)
