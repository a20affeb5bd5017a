"""The checker bites: each kind of damage to the history of a real run is found, and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from engine.states import Status
from tests.chaos import checks, story, verdict
from tests.chaos.checks import executions
from tests.chaos.history import Execution, History
from tests.chaos.records import Effect, Fault, Life, Request

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TASKS, FLOWS, TRIES = "kr_task_stat", "kr_flow_stat", "kr_task_attempt"


def names(history: History) -> set[str]:
    return {violation.name for violation in checks.check(history)}


def a_flow(history: History, task_id: str = "chaos-chain") -> str:
    """A flow that was acknowledged, and whose tasks ran once each."""
    for row in history.rows[FLOWS]:
        runs = [history.executions.get((row["task_flow_id"], seq), []) for seq in range(1, row["task_count"] + 1)]
        if row["task_id"] == task_id and all(len(one) == 1 for one in runs):
            return str(row["task_flow_id"])
    raise AssertionError(f"the small run has no quiet flow of {task_id}")


def of_task(history: History, table: str, flow: str, seq: int) -> Any:
    return next(
        row for row in history.rows[table] if row["task_flow_id"] == flow and row.get("task_exec_seq", seq) == seq
    )


def fresh(history: History) -> None:
    """What was worked out from the rows before is to be worked out anew."""
    for name in ("flows", "tasks", "witnessed", "attempts", "executions", "acknowledged"):
        vars(history).pop(name, None)


def lose_a_flow(history: History) -> None:
    flow = a_flow(history)
    for rows in history.rows.values():
        rows[:] = [row for row in rows if row.get("task_flow_id") != flow]
    history.effects = [effect for effect in history.effects if effect.flow != flow]


def leave_a_key_unanswered(history: History) -> None:
    history.unanswered.append("36-99999")


def make_a_flow_nobody_asked_for(history: History) -> None:
    flow = of_task(history, FLOWS, a_flow(history), 0)
    flow["idempotency_key"] = "somebody-else"


def lose_a_task(history: History) -> None:
    flow = a_flow(history)
    history.rows[TASKS] = [
        row for row in history.rows[TASKS] if (row["task_flow_id"], row["task_exec_seq"]) != (flow, 4)
    ]


def make_two_flows_of_one_key(history: History) -> None:
    first, second = [row for row in history.rows[FLOWS] if row["idempotency_key"]][:2]
    second["idempotency_key"] = first["idempotency_key"]


def answer_a_key_with_two_flows(history: History) -> None:
    known = next(request for request in history.requests if request.status == 200)
    other = next(item.flow for item in history.requests if item.status == 200 and item.flow != known.flow)
    history.requests.append(replace(known, flow=other))


def answer_with_500(history: History) -> None:
    history.requests.append(replace(history.requests[0], status=500, flow=None, error="oh"))


def leave_a_task_waiting(history: History) -> None:
    of_task(history, TASKS, a_flow(history), 3)["exec_status"] = int(Status.WAIT)


def accept_nothing(history: History) -> None:
    of_task(history, TRIES, a_flow(history), 2)["accepted"] = False


def _second_try(history: History, **changes: Any) -> dict[str, Any]:
    flow = a_flow(history)
    known = of_task(history, TRIES, flow, 2)
    later = {**known, "claim_id": "another", "claim_no": known["claim_no"] + 1, **changes}
    history.rows[TRIES].append(later)
    of_task(history, TASKS, flow, 2)["claims"] += 1
    return later


def accept_two_tries(history: History) -> None:
    _second_try(history)


def claim_after_the_end(history: History) -> None:
    _second_try(history, accepted=False, outcome="lost")


def settle_under_another_claim(history: History) -> None:
    of_task(history, TASKS, a_flow(history), 2)["claim_id"] = "another"


def claim_under_a_lease(history: History) -> None:
    later = _second_try(history)
    known = of_task(history, TRIES, later["task_flow_id"], 2)
    known |= {"outcome": "lost", "accepted": False, "lease_until_ts": later["claimed_ts"] + timedelta(seconds=3)}


def give_a_claim_number_twice(history: History) -> None:
    later = _second_try(history, accepted=False, outcome="released")
    later["claim_no"] -= 1


def spoil_a_result(history: History) -> None:
    of_task(history, TASKS, a_flow(history), 4)["result"] = '{"sum": 1}'


def count_more_claims_than_there_were(history: History) -> None:
    of_task(history, TASKS, a_flow(history), 2)["claims"] = 0


def meddle(history: History) -> None:
    row = {"event_id": 10**9, "task_flow_id": a_flow(history), "task_exec_seq": 1, "what": "task ignored by hand"}
    stamp = history.rows[FLOWS][0]["registered_ts"]
    history.rows["kr_event"].append({**row, "actor": "sql", "details": None, "event_ts": stamp})


def break_an_invariant(history: History) -> None:
    history.broken["I10 wait_count is what a recount gives"] = [(a_flow(history), 2, 1, 0)]


def begin_before_a_parent(history: History) -> None:
    flow = a_flow(history)
    first = next(effect for effect in history.effects if (effect.flow, effect.seq, effect.what) == (flow, 1, "begin"))
    history.effects = [
        replace(effect, mono=first.mono - 0.001)
        if (effect.flow, effect.seq, effect.what) == (flow, 3, "begin")
        else effect
        for effect in history.effects
    ]
    history.effects.sort(key=lambda effect: effect.mono)


def exceed_a_cap(history: History) -> None:
    flow = a_flow(history, "chaos-capped")
    begin, end = [effect for effect in history.effects if effect.flow == flow]
    row = of_task(history, TASKS, flow, 1)
    for number in range(3):
        other = f"{flow}-{number}"
        history.rows[TASKS].append({**row, "task_flow_id": other})
        history.effects += [replace(begin, flow=other), replace(end, flow=other)]
    history.effects.sort(key=lambda effect: effect.mono)


def forget_an_effect(history: History) -> None:
    flow = a_flow(history)
    history.effects = [effect for effect in history.effects if (effect.flow, effect.seq) != (flow, 4)]


def begin_without_a_claim(history: History) -> None:
    _repeat(history, "unknown")


def _repeat(history: History, claim: str) -> None:
    """Task 2 of a quiet flow ran once more, a moment after its end."""
    flow = a_flow(history)
    begin, end = [effect for effect in history.effects if (effect.flow, effect.seq) == (flow, 2)]
    again: list[Effect] = [
        replace(item, claim=claim, mono=item.mono + end.mono - begin.mono + 0.001) for item in (begin, end)
    ]
    history.effects = sorted([*history.effects, *again], key=lambda effect: effect.mono)


def run_twice(history: History) -> None:
    _second_try(history, accepted=False, outcome="stale", claim_no=0)
    _repeat(history, "another")


def begin_a_claim_twice(history: History) -> None:
    flow = a_flow(history)
    _repeat(history, of_task(history, TRIES, flow, 2)["claim_id"])


def run_twice_at_once(history: History) -> None:
    run_twice(history)
    history.effects = [
        replace(effect, mono=effect.mono - 10_000) if (effect.claim, effect.what) == ("another", "begin") else effect
        for effect in history.effects
    ]


def exit_unasked(history: History) -> None:
    history.lives[0].cause, history.lives[0].code = None, 1


def exit_badly_when_asked(history: History) -> None:
    life = next(life for life in history.lives if life.cause == "stop")
    life.code, life.heeded = 1, True


def never_exit(history: History) -> None:
    history.lives.append(Life("watcher9", "watcher", 1, 0.0))


def leave_a_transaction(history: History) -> None:
    history.left_over.append("transaction left open: 17")


def log_a_traceback(history: History) -> None:
    history.logs["watcher1"].append("Traceback (most recent call last):")


def flood_a_log(history: History) -> None:
    history.logs["watcher1"] += ["the same again"] * 5_000


def suspend_a_healthy_task(history: History) -> None:
    of_task(history, TASKS, a_flow(history), 1).update(exec_status=int(Status.SUSPEND), reason="failed")


def run_poison(history: History) -> None:
    row = next(row for row in history.rows[TASKS] if row["task_flow_id"].startswith("poison-"))
    row.update(exec_status=int(Status.FINISH), reason=None)


DAMAGE: list[tuple[Callable[[History], None], str]] = [
    (lose_a_flow, "I1"),
    (leave_a_key_unanswered, "I1"),
    (make_a_flow_nobody_asked_for, "I2"),
    (lose_a_task, "I3"),
    (make_two_flows_of_one_key, "I16"),
    (answer_a_key_with_two_flows, "I16"),
    (answer_with_500, "answers"),
    (leave_a_task_waiting, "I4"),
    (accept_nothing, "I5"),
    (accept_two_tries, "I5"),
    (claim_after_the_end, "I6"),
    (settle_under_another_claim, "I6"),
    (claim_under_a_lease, "I7"),
    (give_a_claim_number_twice, "I8"),
    (spoil_a_result, "data"),
    (count_more_claims_than_there_were, "I23"),
    (meddle, "I23"),
    (break_an_invariant, "I10"),
    (begin_before_a_parent, "I9"),
    (exceed_a_cap, "I22"),
    (forget_an_effect, "I19"),
    (begin_without_a_claim, "I19"),
    (run_twice, "I20"),
    (begin_a_claim_twice, "I20"),
    (run_twice_at_once, "I21"),
    (exit_unasked, "I24"),
    (exit_badly_when_asked, "I24"),
    (never_exit, "I24"),
    (leave_a_transaction, "I24"),
    (log_a_traceback, "I27"),
    (flood_a_log, "I27"),
    (suspend_a_healthy_task, "I25"),
    (run_poison, "I25"),
]


@pytest.mark.parametrize("damage, name", DAMAGE, ids=[damage.__name__ for damage, _ in DAMAGE])
def test_damage_is_found_and_named(history: History, damage: Callable[[History], None], name: str) -> None:
    damage(history)
    fresh(history)
    assert name in names(history)


def test_a_small_run_is_clean_and_says_so(history: History) -> None:
    assert names(history) == set()
    found = verdict.judge(history, [], 2, 10.0)
    assert found.line.startswith("CLEAN sqlite seed=36 kills=2 flows=")
    assert found.facts["lost"] == found.facts["unexplained"] == 0


def test_a_violation_is_counted_and_its_story_told(history: History) -> None:
    leave_a_task_waiting(history)
    fresh(history)
    violations = checks.check(history)
    found = verdict.judge(history, violations, 2, 10.0)
    assert found.line.startswith("VIOLATED sqlite")
    assert found.facts["lost"] >= 1
    flow = next(violation.flow for violation in violations if violation.flow)
    told = story.tell(history, flow)
    for part in (
        "client asks register",
        "claim 1",
        "row 1: registered_ts",
        "program of task 1",
        "begin",
        "end (finish)",
    ):
        assert part in told


def duplicate(history: History) -> Execution:
    run_twice(history)
    fresh(history)
    return next(run for run in executions.wasted(history) if run.claim == "another")


def test_a_kill_explains_only_what_its_process_ran(history: History) -> None:
    run = duplicate(history)
    life = history.life_of(run)
    assert life is not None
    assert executions.explanation(history, run) is None
    other = replace(life, label="watcher9", pid=life.pid + 1, end=run.begin.mono + 0.1, code=-9, cause="kill")
    history.lives.append(other)
    assert executions.explanation(history, run) is None
    life.end, life.code, life.cause = run.begin.mono + 0.01, -9, "kill"
    assert executions.explanation(history, run) == "killed"


def test_a_kill_long_after_the_end_explains_nothing(history: History) -> None:
    run = duplicate(history)
    life = history.life_of(run)
    assert life is not None
    assert run.end is not None
    life.end, life.code, life.cause = run.end.mono + 60, -9, "kill"
    assert executions.explanation(history, run) is None
    history.faults.append(Fault("lock", "database", run.end.mono, run.end.mono + 59))  # kept from settling till then
    assert executions.explanation(history, run) == "killed"


@pytest.mark.parametrize("kind, words", [("stop", "stopped"), ("cut", "cut off"), ("freeze", "cut off")])
def test_a_stop_or_a_cut_explains_only_if_it_outlasts_the_lease(history: History, kind: str, words: str) -> None:
    run = duplicate(history)
    life = history.life_of(run)
    assert life is not None
    life.end = life.code = life.cause = None
    fault = Fault(kind, life.label, run.begin.mono, run.begin.mono + 0.5)
    history.faults.append(fault)
    assert executions.explanation(history, run) is None
    fault.end = run.begin.mono + history.options.lease_s
    assert executions.explanation(history, run) == words
    fault.target = "watcher9"
    assert executions.explanation(history, run) is None


def test_a_request_without_an_answer_promises_nothing(history: History) -> None:
    lost = Request("36-100000", "chaos-chain", 100_000, "register1", 0.0, 0.0, 1.0, None, None, "gone")
    history.requests.append(lost)
    assert names(history) == set()
