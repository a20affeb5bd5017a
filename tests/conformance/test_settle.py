"""Settling: each outcome's effects, the fence, and races between those who settle, lapse and change by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from factories import (
    by_hand,
    claim,
    define,
    define_graph,
    enlisted,
    finish,
    flow,
    kill_lease,
    rows,
    run_out,
    settle_as,
    sql,
    start,
    states,
    sweep,
    task,
    tasks,
    together,
)
from invariants import hold

from engine import flow_counts, supervise
from engine.database import Database, open_database
from engine.graph.dependencies import Policy
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.settling import plain
from engine.states import Reason, Status
from engine.tables import attempt, event


@pytest.fixture(autouse=True)
def enlist_watcher(db: Database) -> None:
    enlisted(db)


def second(db: Database) -> Database:
    other = open_database(db.url.render_as_string(hide_password=False))
    other.can.skip_locked = db.can.skip_locked
    return other


# --- outcomes ---------------------------------------------------------------------------------------------------------


def test_finish(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    settled = finish(db, *claim(db), result='{"rows":3}')
    assert settled.verdicts == [Verdict.ACCEPTED]
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.wait_count, row.result, row.attempt) == (Status.FINISH, -1, '{"rows":3}', 1)
    assert row.finished_ts >= row.started_ts
    assert row.claim_id is not None, "who won stays on the row"
    assert states(db, flow_id)[1] == (0, 0)
    assert rows(db, attempt) == []
    assert flow(db, flow_id).finish_count == 1
    hold(db)


def test_finish_with_a_log_keeps_the_try(db: Database) -> None:
    define(db)
    start(db)
    [held] = claim(db)
    settle_as(db, [Settlement(held, "finish", log="read 3 rows")])
    [kept] = rows(db, attempt)
    assert (kept.outcome, kept.accepted, kept.log, kept.claim_no) == ("finished", True, "read 3 rows", 1)
    hold(db, at_rest=True)


def test_all_tries_are_kept_on_demand(db: Database) -> None:
    define(db)
    start(db)
    finish(db, *claim(db), keep_all_attempts=True)
    [kept] = rows(db, attempt)
    assert (kept.watcher_id, kept.outcome, kept.accepted) == ("watcher-1", "finished", True)
    assert kept.claimed_ts <= kept.ended_ts


def test_suspend(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    wrong = Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="no such host", traceback="Traceback ...")
    assert settle_as(db, [wrong]).verdicts == [Verdict.ACCEPTED]
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.wait_count, row.reason, row.error) == (2, 0, "failed", "no such host")
    assert (row.attempt, row.suspended_ts is not None, row.finished_ts) == (1, True, None)
    assert states(db, flow_id)[1] == (0, 1)
    [kept] = rows(db, attempt)
    assert (kept.outcome, kept.accepted, kept.error, kept.traceback) == (
        "failed",
        True,
        "no such host",
        "Traceback ...",
    )
    assert flow(db, flow_id).flow_status == Status.SUSPEND
    assert [row.what for row in rows(db, event)] == ["task suspended"]
    hold(db, at_rest=True)


def test_again_waits_for_the_time_of_the_database(db: Database) -> None:
    define(db)
    flow_id = start(db)
    settle_as(db, [Settlement(claim(db)[0], "again", delay_s=3600)])
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.wait_count, row.reason, row.attempt) == (0, 1, Reason.AGAIN, 0)
    with db.read() as conn:
        assert timedelta(seconds=3590) < row.due_ts - db.now(conn) <= timedelta(seconds=3600)
    assert supervise.fire_due(db) == 0
    assert claim(db) == []
    hold(db, at_rest=True)
    sql(db, "UPDATE kr_task_stat SET due_ts = '2001-01-01 00:00:00'")
    assert supervise.fire_due(db) == 1
    [held] = claim(db)
    assert (held.claim_no, held.attempt) == (2, 1)
    finish(db, held)
    hold(db, at_rest=True)


def test_again_at_an_instant(db: Database) -> None:
    define(db)
    flow_id = start(db)
    instant = datetime(2040, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    settle_as(db, [Settlement(claim(db)[0], "again", due_at=instant)])
    assert task(db, (flow_id, 1)).due_ts == instant


def test_release_gives_the_row_back_uncharged(db: Database) -> None:
    define(db)
    flow_id = start(db)
    settle_as(db, [Settlement(claim(db)[0], "release")])
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.wait_count, row.attempt, row.claims) == (0, 0, 0, 1)
    assert [kept.outcome for kept in rows(db, attempt)] == ["released"]
    assert claim(db)[0].claim_no == 2


def test_a_batch_of_three_hundred(db: Database) -> None:
    define(db, steps=2)
    for _ in range(300):
        start(db)
    held = claim(db, 300)
    assert len(held) == 300
    settled = finish(db, *held)
    assert settled.verdicts == [Verdict.ACCEPTED] * 300
    hold(db)
    assert len(claim(db, 500)) == 300


def test_a_mixed_batch(db: Database) -> None:
    define_graph(db, "fan", [(1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (2, 7), (3, 7)])
    flow_id = start(db, "fan")
    finish(db, *claim(db))
    held = {item.key.seq: item for item in claim(db)}
    batch = [
        Settlement(held[2], "finish", result="2"),
        Settlement(held[3], "finish", result="3"),
        Settlement(held[4], "suspend", reason="failed", error="x"),
        Settlement(held[5], "again", delay_s=60),
        Settlement(held[6], "release"),
    ]
    assert set(settle_as(db, batch).verdicts) == {Verdict.ACCEPTED}
    assert states(db, flow_id) == [(3, -1), (3, -1), (3, -1), (2, 0), (0, 1), (0, 0), (0, 0)]
    assert [row.result for row in tasks(db, flow_id)[1:3]] == ["2", "3"]
    hold(db)


# --- the fence --------------------------------------------------------------------------------------------------------


def outdated(db: Database) -> tuple[Settlement, Key]:
    """A claim whose watcher was silent too long, and whose task another one has taken."""
    define(db, steps=2)
    start(db)
    [old] = claim(db)
    kill_lease(db)
    assert supervise.reap(db, grace_s=60) == 1
    enlisted(db, "watcher-2")
    [new] = claim(db, watcher_id="watcher-2")
    assert new.key == old.key
    return Settlement(old, "finish", result='"old"'), old.key


@pytest.mark.parametrize("answer", ["finish", "suspend", "again", "release"])
def test_a_stale_settle_changes_nothing_but_the_record(db: Database, answer: str) -> None:
    late, key = outdated(db)
    before = tasks(db, key.flow_id), flow(db, key.flow_id)
    told = Settlement(late.task, answer, reason="failed", error="x")
    assert settle_as(db, [told]).verdicts == [Verdict.STALE]
    assert (tasks(db, key.flow_id), flow(db, key.flow_id)) == before
    [kept] = rows(db, attempt)
    assert (kept.outcome, kept.accepted, kept.claim_no) == ("stale", False, 1)
    hold(db)


def test_a_late_settle_is_accepted_while_nobody_took_the_task(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    [held] = claim(db)
    kill_lease(db)
    supervise.reap(db, grace_s=60)
    assert [kept.outcome for kept in rows(db, attempt)] == ["lost"]
    assert finish(db, held, result="1").verdicts == [Verdict.ACCEPTED]
    assert states(db, flow_id) == [(3, -1), (0, 0)]
    [kept] = rows(db, attempt)
    assert (kept.outcome, kept.accepted) == ("finished", True)
    run_out(db)
    hold(db, at_rest=True)


def test_a_stale_settle_leaves_an_accepted_try_alone(db: Database) -> None:
    define(db)
    flow_id = start(db)
    [held] = claim(db)
    settle_as(db, [Settlement(held, "finish", log="x")])
    by_hand(db, Key(flow_id, 1), 0)
    sweep(db)
    assert claim(db)
    assert finish(db, held).verdicts == [Verdict.STALE]
    assert [(kept.outcome, kept.accepted) for kept in rows(db, attempt)] == [("finished", True)]


@pytest.mark.parametrize("answer", ["finish", "suspend", "again", "release"])
def test_settling_twice_is_recognised(db: Database, answer: str) -> None:
    define(db, steps=2)
    flow_id = start(db)
    told = Settlement(claim(db)[0], answer, reason="failed", error="x", delay_s=60)
    assert settle_as(db, [told]).verdicts == [Verdict.ACCEPTED]
    before = tasks(db, flow_id), flow(db, flow_id), rows(db, attempt)
    assert settle_as(db, [told]).verdicts == [Verdict.ALREADY]
    assert (tasks(db, flow_id), flow(db, flow_id), rows(db, attempt)) == before


def test_one_settlement_twice_in_a_batch(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    told = Settlement(claim(db)[0], "finish", log="x")
    assert settle_as(db, [told, told]).verdicts == [Verdict.ACCEPTED, Verdict.ALREADY]
    assert states(db, flow_id) == [(3, -1), (0, 0)]
    hold(db)


@pytest.mark.parametrize("answer, status", [("finish", 3), ("suspend", 2), ("again", 0), ("release", 0)])
def test_the_same_status_set_by_hand_is_not_mistaken_for_a_settle(db: Database, answer: str, status: int) -> None:
    define(db)
    flow_id = start(db)
    [held] = claim(db)
    by_hand(db, Key(flow_id, 1), status)
    told = Settlement(held, answer, reason="failed", error="what went wrong", delay_s=1)
    assert settle_as(db, [told]).verdicts == [Verdict.STALE]
    assert rows(db, attempt)[0].error == "what went wrong"


def test_results_and_errors_of_any_text(db: Database) -> None:
    define(db)
    text = "naïve 日本 🦆 ' \" \\ % ; -- \n\t" + "x" * 100_000
    for kind in ("finish", "suspend"):
        flow_id = start(db)
        told = Settlement(claim(db)[0], kind, result=text, reason="failed", error=text, traceback=text, log=text)
        settle_as(db, [told])
        row = task(db, (flow_id, 1))
        assert (row.result if kind == "finish" else row.error) == text
    assert {(kept.error, kept.traceback, kept.log) for kept in rows(db, attempt)} == {(text, text, text)}


# --- races ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["short", "long"])
def test_an_error_while_successors_are_told_settles_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The new status, the counters behind it and those of the flow are one transaction."""
    if way == "long":
        monkeypatch.setattr(plain, "fits", lambda settlements: False)
    define(db, steps=2)
    flow_id = start(db)
    [first] = claim(db)
    before = tasks(db, flow_id), flow(db, flow_id)
    with monkeypatch.context() as patch:
        patch.setattr(flow_counts, "add", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(db, first)
    assert (tasks(db, flow_id), flow(db, flow_id)) == before
    assert finish(db, first).verdicts == [Verdict.ACCEPTED]
    assert states(db, flow_id) == [(3, -1), (0, 0)]
    hold(db)


def test_siblings_that_settle_together_open_their_join_once(db: Database) -> None:
    joins = 200
    define_graph(db, "join", [(1, 3), (2, 3)])
    flows = [start(db, "join") for _ in range(joins)]
    held = {item.key: item for item in claim(db, 2 * joins)}
    left, right = second(db), second(db)

    def settle_all(other: Database, seq: int, order: list[str]) -> None:
        for flow_id in order:
            finish(other, held[Key(flow_id, seq)])

    together(lambda: settle_all(left, 1, flows), lambda: settle_all(right, 2, flows))
    left.close()
    right.close()
    assert {row.wait_count for flow_id in flows for row in tasks(db, flow_id) if row.task_exec_seq == 3} == {0}
    hold(db)


@pytest.mark.needs("row_locks")
def test_siblings_both_read_before_either_commits(db: Database) -> None:
    """The second settle begins while the first is uncommitted, and must wait for its counter."""
    from engine.settle import settle

    define_graph(db, "join", [(1, 3), (2, 3)])
    flow_id = start(db, "join")
    first, last = claim(db)
    other = second(db)
    with db.transaction() as conn:
        settle(conn, db, "watcher-1", [Settlement(first, "finish")])
        from concurrent.futures import ThreadPoolExecutor

        pool = ThreadPoolExecutor(1)
        waiting = pool.submit(finish, other, last)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
    waiting.result(10)
    pool.shutdown()
    other.close()
    assert states(db, flow_id)[2] == (0, 0)
    hold(db)


def test_settle_and_lapse_together(db: Database) -> None:
    """Whoever is first, the task finishes once and its flow goes on."""
    define(db, steps=2)
    flows = [start(db) for _ in range(40)]
    held = claim(db, 40)
    kill_lease(db)
    settler, reaper = second(db), second(db)

    def reap() -> int:
        return sum(supervise.reap(reaper, grace_s=60) for _ in range(20))

    settled, _ = together(lambda: [finish(settler, item).verdicts[0] for item in held], reap)
    settler.close()
    reaper.close()
    assert set(settled) == {Verdict.ACCEPTED}
    assert {states(db, flow_id)[0] for flow_id in flows} == {(3, -1)}
    hold(db)


def test_settle_lapse_and_claim_together(db: Database) -> None:
    define(db)
    flows = [start(db) for _ in range(40)]
    held = claim(db, 40)
    kill_lease(db)
    enlisted(db, "watcher-2")
    settler, thief = second(db), second(db)

    def steal() -> list[Key]:
        taken: list[Key] = []
        for _ in range(30):
            supervise.reap(thief, grace_s=60)
            taken += [item.key for item in claim(thief, 5, watcher_id="watcher-2")]
        return taken

    verdicts, stolen = together(lambda: [finish(settler, item).verdicts[0] for item in held], steal)
    settler.close()
    thief.close()
    lost = {item.key for item, verdict in zip(held, verdicts, strict=True) if verdict is Verdict.STALE}
    assert lost == set(stolen)
    assert len({*flows}) == 40
    hold(db)


def test_a_due_time_counts_once_for_two_sweeps(db: Database) -> None:
    define(db)
    flows = [start(db) for _ in range(50)]
    settle_as(db, [Settlement(item, "again", delay_s=-1) for item in claim(db, 50)])
    left, right = second(db), second(db)
    fired = together(
        lambda: sum(supervise.fire_due(left) for _ in range(3)),
        lambda: sum(supervise.fire_due(right) for _ in range(3)),
    )
    left.close()
    right.close()
    assert sum(fired) == 50
    assert {states(db, flow_id)[0] for flow_id in flows} == {(0, 0)}
    hold(db)


def test_two_sweeps_pass_on_and_adopt_once(db: Database) -> None:
    from engine.adopt import Adopter

    define_graph(db, "join", [(1, 3), (2, 3)])
    flows = [start(db, "join") for _ in range(30)]
    sql(db, "UPDATE kr_task_stat SET exec_status = 9 WHERE task_exec_seq = 1")
    sql(db, "UPDATE kr_task_stat SET wait_count = NULL WHERE task_exec_seq = 3")
    left, right = second(db), second(db)

    def work(other: Database) -> int:
        adopter = Adopter(other)
        return sum(supervise.pass_on(other) + adopter.adopt() for _ in range(5))

    done = together(lambda: work(left), lambda: work(right))
    left.close()
    right.close()
    sweep(db)
    assert sum(done) == 60
    assert {states(db, flow_id)[2] for flow_id in flows} == {(0, 1)}
    run_out(db)
    hold(db, at_rest=True)


# --- policy -----------------------------------------------------------------------------------------------------------

FLOWERS = Policy(ignore_satisfies=False)


def test_ignored_tasks_satisfy_by_default(db: Database) -> None:
    define(db, steps=3)
    flow_id = start(db)
    by_hand(db, Key(flow_id, 2), 9)
    assert run_out(db) == [Key(flow_id, 1), Key(flow_id, 3)]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_ignored_tasks_hold_their_followers_where_flowers_rule_is_set(db: Database) -> None:
    define(db, steps=3)
    flow_id = start(db)
    by_hand(db, Key(flow_id, 2), 9)
    assert run_out(db, FLOWERS) == [Key(flow_id, 1)]
    assert states(db, flow_id) == [(3, -1), (9, -1), (0, 1)]
    hold(db, at_rest=True, policy=FLOWERS)
    by_hand(db, Key(flow_id, 2), 0)
    assert run_out(db, FLOWERS) == [Key(flow_id, 2), Key(flow_id, 3)]
    hold(db, at_rest=True, policy=FLOWERS)
