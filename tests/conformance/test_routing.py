"""Branches and joins: conditions, defaults, choices, trigger rules, error edges, and what is skipped behind them."""

from __future__ import annotations

import pytest
from factories import by_hand, claim, enlisted, flow, rows, settle_as, sql, sweep, task, tasks, together
from graphs import FAIL, ends, make_flow, play
from invariants import hold

from engine import control
from engine.database import Database, open_database
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import attempt, event, run_edge

FINISHED = (Status.FINISH, None)
SKIPPED = (Status.IGNORE, Reason.SKIPPED)
WAITS = (Status.WAIT, None)
BRANCHES = [(1, 2, {"only_if": "result.x > 10"}), (1, 3, {"is_default": True}), (2, 4), (3, 4)]


@pytest.fixture(autouse=True)
def enlist_watcher(db: Database) -> None:
    enlisted(db)


def outcomes(db: Database) -> dict[tuple[int, int], str | None]:
    """(before, after) -> outcome of each stored edge."""
    return {(row.depends_task_exec_seq, row.task_exec_seq): row.outcome for row in rows(db, run_edge)}


# --- conditions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x, taken, left", [(11, 2, 3), (10, 3, 2)])
def test_an_exclusive_choice_by_condition(db: Database, x: int, taken: int, left: int) -> None:
    flow_id = make_flow(db, BRANCHES)
    assert play(db, {1: {"result": f'{{"x":{x}}}'}}) == [1, taken, 4]
    assert ends(db, flow_id) == {1: FINISHED, taken: FINISHED, left: SKIPPED, 4: FINISHED}
    row = flow(db, flow_id)
    assert (row.flow_status, row.finish_count, row.ignore_count) == (Status.FINISH, 3, 1)
    assert outcomes(db) == {(1, taken): "taken", (1, left): "skipped", (3, 4): None}
    hold(db, at_rest=True)


def test_an_inclusive_choice_takes_every_edge_whose_condition_is_true(db: Database) -> None:
    conditions = ["result.x > 1", "result.x > 5", "result.x > 9"]
    flow_id = make_flow(
        db, [(1, n, {"only_if": text}) for n, text in enumerate(conditions, 2)] + [(2, 5), (3, 5), (4, 5)]
    )
    assert sorted(play(db, {1: {"result": '{"x":7}'}})) == [1, 2, 3, 5]
    assert ends(db, flow_id)[4] == SKIPPED
    hold(db, at_rest=True)


def test_the_default_edge_is_for_when_no_condition_is_true(db: Database) -> None:
    edges = [(1, 2, {"only_if": "result == 1"}), (1, 3, {"only_if": "result == 2"}), (1, 4, {"is_default": True})]
    first = make_flow(db, edges)
    play(db, {1: {"result": "2"}})
    second = make_flow(db, edges)
    play(db, {1: {"result": "3"}})
    assert [seq for seq, end in ends(db, first).items() if end == SKIPPED] == [2, 4]
    assert [seq for seq, end in ends(db, second).items() if end == SKIPPED] == [2, 3]


def test_an_edge_without_condition_is_taken_beside_conditional_ones(db: Database) -> None:
    flow_id = make_flow(db, [(1, 2), (1, 3, {"only_if": "false"}), (1, 4, {"is_default": True})])
    play(db)
    assert ends(db, flow_id) == {1: FINISHED, 2: FINISHED, 3: SKIPPED, 4: FINISHED}


def test_a_condition_sees_parameters_and_results_of_earlier_steps(db: Database) -> None:
    edges = [(1, 2), (2, 3, {"only_if": "results.step1.n + result.n == 5 && params.go && flow.task_id == 'w'"})]
    flow_id = make_flow(db, edges)
    sql(db, "UPDATE kr_flow_stat SET parameters = '{\"go\"\\:true}'")
    play(db, {1: {"result": '{"n":2}'}, 2: {"result": '{"n":3}'}})
    assert ends(db, flow_id)[3] == FINISHED


def test_whole_branches_are_skipped_and_a_join_behind_them_too(db: Database) -> None:
    edges = [(1, 2, {"only_if": "false"}), (2, 3), (3, 4), (2, 5), (4, 6), (5, 6)]
    flow_id = make_flow(db, edges)
    assert play(db) == [1]
    assert set(ends(db, flow_id).values()) == {FINISHED, SKIPPED}
    assert flow(db, flow_id).flow_status == Status.FINISH
    assert flow(db, flow_id).ignore_count == 5
    hold(db, at_rest=True)


def test_a_skipped_branch_longer_than_one_transaction_follows(db: Database) -> None:
    flow_id = make_flow(db, [(1, 2, {"only_if": "false"})] + [(n, n + 1) for n in range(2, 60)])
    assert play(db) == [1]
    assert list(ends(db, flow_id).values()) == [FINISHED] + [SKIPPED] * 59
    assert [row.what for row in rows(db, event) if "by hand" in row.what] == []
    hold(db, at_rest=True)


@pytest.mark.parametrize("text", ["result.nothing > 1", "result +", "1", "nobody == 2", "result.x > 'a'"])
def test_a_condition_that_raises_suspends_the_task_behind_it_alone(db: Database, text: str) -> None:
    flow_id = make_flow(db, [(1, 2, {"only_if": text}), (1, 3), (2, 4), (3, 4)])
    assert play(db, {1: {"result": '{"x":1}'}}) == [1, 3]
    row = task(db, (flow_id, 2))
    assert (row.exec_status, row.reason, row.wait_count) == (Status.SUSPEND, Reason.BAD_CONDITION, 1)
    assert f"the condition of edge 1 -> 2, {text!r}, " in row.error
    assert ends(db, flow_id)[4] == WAITS
    assert flow(db, flow_id).flow_status == Status.SUSPEND
    hold(db)


def test_a_mended_condition_is_worked_out_when_the_task_is_recovered(db: Database) -> None:
    flow_id = make_flow(db, [(1, 2, {"only_if": "result.typo > 1"}), (1, 3, {"is_default": True})])
    play(db, {1: {"result": '{"x":1}'}})
    assert {end for seq, end in ends(db, flow_id).items() if seq > 1} == {(Status.SUSPEND, Reason.BAD_CONDITION)}
    sql(db, "UPDATE kr_task_edge SET only_if = 'result.x > 1' WHERE task_exec_seq = 2")
    assert control.recover(db, flow_id, actor="me") == [2, 3]
    assert play(db) == [3]
    assert ends(db, flow_id) == {1: FINISHED, 2: SKIPPED, 3: FINISHED}
    hold(db, at_rest=True)


def test_a_task_with_a_bad_condition_may_be_ignored_instead(db: Database) -> None:
    flow_id = make_flow(db, [(1, 2, {"only_if": "result.typo"}), (2, 3)])
    play(db)
    by_hand(db, Key(flow_id, 2), Status.IGNORE)
    assert play(db) == [3]
    hold(db, at_rest=True)


def test_conditions_behind_a_task_that_a_person_settled(db: Database) -> None:
    finished = make_flow(db, BRANCHES)
    sql(
        db, f"UPDATE kr_task_stat SET result = '{{\"x\"\\:99}}' WHERE task_flow_id = '{finished}' AND task_exec_seq = 1"
    )
    by_hand(db, Key(finished, 1), Status.FINISH)
    assert play(db) == [2, 4]
    forced = make_flow(db, BRANCHES)
    control.finish(db, forced, 1, {"x": 5}, actor="me")
    assert play(db) == [3, 4]
    ignored = make_flow(db, [(1, 2, {"only_if": "result != null"}), (1, 3, {"is_default": True})])
    control.ignore(db, ignored, [1], actor="me")
    assert play(db) == [3]
    hold(db, at_rest=True)


def test_rows_made_by_hand_after_their_parent_has_told(db: Database) -> None:
    flow_id = make_flow(db, [(1, 2)])
    play(db, {1: {"result": "7"}})
    columns = "task_flow_id, task_exec_seq, depends_task_exec_seq, task_id, task_seq, parameters, program"
    for seq in (3, 4):
        sql(db, f"INSERT INTO kr_task_stat({columns}) VALUES ('{flow_id}', {seq}, -1, 'w', {seq}, '{{}}', 'Noop')")
        sql(
            db,
            "INSERT INTO kr_task_edge(task_flow_id, task_exec_seq, depends_task_exec_seq, only_if)"
            f" VALUES ('{flow_id}', {seq}, 1, 'result == {seq + 4}')",
        )
    assert play(db) == [3]
    assert ends(db, flow_id)[4] == SKIPPED
    hold(db, at_rest=True)


# --- choices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice, ran", [(("step2",), [2]), ((3, "step4"), [3, 4]), ((), []), ((2, 2), [2])])
def test_a_program_chooses_what_follows(db: Database, choice: tuple[str | int, ...], ran: list[int]) -> None:
    flow_id = make_flow(db, [(1, 2), (1, 3), (1, 4, {"only_if": "false"}), (2, 5), (3, 5), (4, 5)])
    after = [5] if ran else []
    assert play(db, {1: {"choose": choice, "result": '"why"'}}) == [1, *ran, *after]
    assert task(db, (flow_id, 1)).result == '"why"'
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


@pytest.mark.parametrize("choice", ["step9", 9, "4", 4])
def test_a_choice_of_a_step_that_is_not_there(db: Database, choice: str | int) -> None:
    flow_id = make_flow(db, [(1, 2), (1, 3), (2, 4)])
    assert play(db, {1: {"choose": (2, choice)}}) == [1]
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.reason, row.result) == (Status.SUSPEND, Reason.BAD_RESULT, None)
    assert row.error == f"chose {choice!r}, but behind task 1 there are the steps 2 ('step2'), 3 ('step3')"
    assert {end for seq, end in ends(db, flow_id).items() if seq > 1} == {WAITS}
    hold(db)


def test_bad_and_good_choices_in_one_batch(db: Database) -> None:
    flows = [make_flow(db, [(1, 2), (1, 3)]) for _ in range(3)]
    claimed = {item.key.flow_id: item for item in claim(db)}
    batch = [Settlement(claimed[name], "finish", choose=(pick,)) for name, pick in zip(flows, (2, 8, 3), strict=True)]
    assert settle_as(db, batch).verdicts == [Verdict.ACCEPTED] * 3
    assert [ends(db, name)[1][0] for name in flows] == [Status.FINISH, Status.SUSPEND, Status.FINISH]
    assert sorted(play(db)) == [2, 3]
    hold(db)


# --- trigger rules ----------------------------------------------------------------------------------------------------


def join(db: Database, rule: str | None) -> str:
    """1, 2 and 3 before 4, which has the rule."""
    return make_flow(db, [(1, 4), (2, 4), (3, 4)], columns={4: {"trigger_rule": rule}})


@pytest.mark.parametrize("rule", [None, "all", "all_taken", "all_done", "none_failed", "cleanup"])
def test_rules_that_wait_for_all(db: Database, rule: str | None) -> None:
    flow_id = join(db, rule)
    batch = [Settlement(item, "finish") for item in claim(db)]
    for left, item in zip((2, 1, 0), batch, strict=True):
        settle_as(db, [item])
        assert task(db, (flow_id, 4)).wait_count == left
        hold(db)
    assert play(db) == [4]
    hold(db, at_rest=True)


def test_any_runs_at_once_and_only_once(db: Database) -> None:
    flow_id = join(db, "any")
    first, *others = claim(db)
    settle_as(db, [Settlement(first, "finish")])
    assert task(db, (flow_id, 4)).wait_count == 0
    hold(db)
    assert play(db) == [4]
    settle_as(db, [Settlement(item, "finish") for item in others])
    assert play(db) == []
    assert task(db, (flow_id, 4)).claims == 1
    assert sorted(filter(None, outcomes(db).values())) == ["moot", "moot"]
    hold(db, at_rest=True)


def skip_some(db: Database, rule: str, skipped: set[int]) -> str:
    """5 leads to 1..3 by conditions, these to 4 with the rule."""
    edges = [(5, n, {"only_if": "false" if n in skipped else "true"}) for n in (1, 2, 3)]
    return make_flow(db, [*edges, (1, 4), (2, 4), (3, 4)], columns={4: {"trigger_rule": rule}})


@pytest.mark.parametrize(
    "rule, skipped, runs",
    [
        ("all", {1, 2}, True),
        ("all", {1, 2, 3}, False),
        ("all_taken", {1}, False),
        ("any", {1, 2}, True),
        ("any", {1, 2, 3}, False),
        ("all_done", {1, 2, 3}, True),
        ("one_failed", set(), False),
        ("one_failed", {1, 2, 3}, False),
        ("none_failed", {1, 2, 3}, True),
        ("cleanup", {1, 2}, True),
        ("cleanup", {1, 2, 3}, False),
        ("a rule of nobody", {1}, True),
    ],
)
def test_rules_over_skipped_branches(db: Database, rule: str, skipped: set[int], runs: bool) -> None:
    flow_id = skip_some(db, rule, skipped)
    assert (4 in play(db)) == runs
    assert ends(db, flow_id)[4] == (FINISHED if runs else SKIPPED)
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


@pytest.mark.parametrize(
    "rule, after_failure, after_all",
    [
        ("all", WAITS, WAITS),
        ("all_taken", WAITS, WAITS),
        ("any", WAITS, FINISHED),
        ("all_done", WAITS, FINISHED),
        ("one_failed", FINISHED, FINISHED),
        ("none_failed", WAITS, WAITS),
        ("cleanup", FINISHED, FINISHED),
    ],
)
def test_rules_over_a_failure_that_waits_for_a_person(
    db: Database, rule: str, after_failure: tuple[int, str | None], after_all: tuple[int, str | None]
) -> None:
    flow_id = join(db, rule)
    first, *others = claim(db)
    settle_as(db, [Settlement(first, **FAIL)])
    play(db)
    assert ends(db, flow_id)[4] == after_failure
    hold(db)
    settle_as(db, [Settlement(item, "finish") for item in others])
    play(db)
    assert ends(db, flow_id) == {1: (Status.SUSPEND, Reason.FAILED), 2: FINISHED, 3: FINISHED, 4: after_all}
    assert flow(db, flow_id).flow_status == Status.SUSPEND
    hold(db)


# --- failures that an edge handles ------------------------------------------------------------------------------------

HANDLED = [(1, 2), (1, 3, {"kind": "error"}), (2, 4), (3, 4)]


def test_an_error_edge_handles_a_failure(db: Database) -> None:
    flow_id = make_flow(db, HANDLED)
    assert play(db, {1: FAIL}) == [1, 3, 4]
    assert ends(db, flow_id) == {1: (Status.IGNORE, Reason.HANDLED), 2: SKIPPED, 3: FINISHED, 4: FINISHED}
    row = task(db, (flow_id, 1))
    assert (row.error, row.wait_count, row.attempt) == ("no", -1, 1)
    assert row.finished_ts is not None
    assert flow(db, flow_id).flow_status == Status.FINISH
    assert [(row.outcome, row.accepted) for row in rows(db, attempt)] == [("failed", True)]
    hold(db, at_rest=True)


def test_an_error_edge_is_skipped_after_success(db: Database) -> None:
    flow_id = make_flow(db, HANDLED)
    assert play(db) == [1, 2, 4]
    assert ends(db, flow_id)[3] == SKIPPED
    hold(db, at_rest=True)


def test_a_handled_failure_is_settled_once_when_its_answer_was_lost(db: Database) -> None:
    make_flow(db, HANDLED)
    failed = Settlement(claim(db)[0], **FAIL)
    assert settle_as(db, [failed]).verdicts == [Verdict.ACCEPTED]
    assert settle_as(db, [failed]).verdicts == [Verdict.ALREADY]
    hold(db)


@pytest.mark.parametrize(
    "reason, taken", [("failed", {4}), ("timed out", {3}), ("bad result", {4}), ("bad parameters", set())]
)
def test_error_edges_by_kind_of_error(db: Database, reason: str, taken: set[int]) -> None:
    flow_id = make_flow(db, [(1, 2), (1, 3, {"kind": "timeout"}), (1, 4, {"kind": "error"})])
    assert set(play(db, {1: {**FAIL, "reason": reason}})) - {1} == taken
    assert (ends(db, flow_id)[1][0] == Status.SUSPEND) == (not taken)
    hold(db)


def test_error_edges_by_condition(db: Database) -> None:
    edges = [
        (1, 2, {"kind": "error", "only_if": "error.message.startsWith('E1')"}),
        (1, 3, {"kind": "error", "only_if": "error.reason == 'failed' && error.message.contains('disk')"}),
    ]
    for message, taken in (("E1: x", [2]), ("the disk is full", [3]), ("else", [])):
        flow_id = make_flow(db, edges)
        assert play(db, {1: {**FAIL, "error": message}}) == [1, *taken]
        assert (ends(db, flow_id)[1][0] == Status.SUSPEND) == (not taken)
    hold(db)


@pytest.mark.parametrize("iteration", [0, 1])
def test_an_error_edge_sees_the_round_of_its_loop(db: Database, iteration: int) -> None:
    edges = [(1, 2, {"kind": "error", "only_if": "iteration == 1"})]
    flow_id = make_flow(db, edges, columns={1: {"iteration": iteration}})
    assert play(db, {1: FAIL}) == ([1, 2] if iteration else [1])
    assert ends(db, flow_id)[1][0] == (Status.IGNORE if iteration else Status.SUSPEND)
    hold(db)


def test_an_error_edge_whose_condition_raises_handles_nothing(db: Database) -> None:
    flow_id = make_flow(db, [(1, 2, {"kind": "error", "only_if": "error.nothing"})])
    assert play(db, {1: FAIL}) == [1]
    assert ends(db, flow_id) == {1: (Status.SUSPEND, Reason.FAILED), 2: WAITS}
    hold(db)


def test_after_a_handled_failure_none_failed_is_false_and_one_failed_true(db: Database) -> None:
    columns = {3: {"trigger_rule": "none_failed"}, 4: {"trigger_rule": "one_failed"}, 5: {"trigger_rule": "all_done"}}
    flow_id = make_flow(db, [(1, 2, {"kind": "error"}), (1, 3), (1, 4), (1, 5)], columns=columns)
    assert sorted(play(db, {1: FAIL})) == [1, 2, 4, 5]
    assert ends(db, flow_id)[3] == SKIPPED
    hold(db, at_rest=True)


def test_a_recovered_task_tells_anew(db: Database) -> None:
    """The failure had been told to the cleanup alone; the success that follows is told to everybody."""
    flow_id = make_flow(db, [(1, 2), (1, 3)], columns={3: {"trigger_rule": "cleanup"}})
    assert play(db, {1: FAIL}) == [1, 3]
    control.recover(db, flow_id, actor="me")
    assert play(db) in ([1, 2, 3], [1, 3, 2])
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


# --- edges that only order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [None, "all", "all_taken", "any", "none_failed"])
def test_an_after_edge_orders_and_has_no_say(db: Database, rule: str | None) -> None:
    flow_id = make_flow(db, [(1, 3), (2, 3, {"kind": "after"})], columns={3: {"trigger_rule": rule}})
    one, two = sorted(claim(db), key=lambda item: item.key)
    settle_as(db, [Settlement(one, "finish")])
    assert task(db, (flow_id, 3)).wait_count == (0 if rule == "any" else 1)
    settle_as(db, [Settlement(two, "finish")])
    assert play(db) == [3]
    hold(db, at_rest=True)


def test_an_after_edge_leads_nowhere_alone(db: Database) -> None:
    edges = [(4, 1, {"only_if": "false"}), (1, 3), (2, 3, {"kind": "after"})]
    flow_id = make_flow(db, edges)
    assert sorted(play(db)) == [2, 4]
    assert ends(db, flow_id)[3] == SKIPPED
    hold(db, at_rest=True)


# --- races ------------------------------------------------------------------------------------------------------------


@pytest.mark.needs("many_writers")
def test_siblings_that_settle_together_decide_once(db: Database) -> None:
    other = open_database(db.url.render_as_string(hide_password=False))
    for rule in ("all", "any", "all_done", "all_taken"):
        flow_id = make_flow(db, [(1, 3), (2, 3)], columns={3: {"trigger_rule": rule}})
        one, two = claim(db)
        together(
            lambda item=one: settle_as(db, [Settlement(item, "finish")]),  # type: ignore[misc]
            lambda item=two: settle_as(other, [Settlement(item, "finish")]),  # type: ignore[misc]
        )
        sweep(db)
        assert task(db, (flow_id, 3)).wait_count == 0
        assert play(db) == [3]
        hold(db, at_rest=True)
    other.close()


def test_a_paused_task_hears_that_it_is_skipped(db: Database) -> None:
    flow_id = make_flow(db, [(1, 2, {"only_if": "false"}), (2, 3)])
    control.pause(db, flow_id, [2], actor="me")
    play(db)
    assert ends(db, flow_id) == {1: FINISHED, 2: SKIPPED, 3: SKIPPED}
    assert flow(db, flow_id).suspend_count == 0
    hold(db, at_rest=True)


def test_a_skipped_task_set_back_by_hand_runs(db: Database) -> None:
    flow_id = make_flow(db, [(1, 2, {"only_if": "false"}), (2, 3)])
    play(db)
    by_hand(db, Key(flow_id, 2), Status.WAIT)
    assert play(db) == [2]
    assert [row.exec_status for row in tasks(db, flow_id)] == [Status.FINISH, Status.FINISH, Status.IGNORE]
    hold(db, at_rest=True)
