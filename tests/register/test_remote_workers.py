"""The protocol of remote workers, over HTTP against each database."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from factories import claim as claim_here
from factories import define, flow, insert_task, kill_lease, rows, sql, start, states, task
from letting_in import let_in
from sqlalchemy import update
from starlette.testclient import TestClient

from engine import supervise
from engine.database import Database
from engine.keys import Key
from engine.leases import offered
from engine.tables import attempt, task_log, task_stat, wait, watcher
from register import waiting_workers

pytestmark = pytest.mark.by_turns

API = "/api/v1/workers"
Serve = Callable[..., TestClient]


class Remote:
    """A worker of one program over a test client."""

    def __init__(self, client: TestClient, *programs: str, **facts: Any) -> None:
        self.client = client
        answer = client.post(API, json={"programs": programs or ("resize",), "lease_s": 30, **facts})
        assert answer.status_code == 200, answer.text
        self.enlisted = answer.json()
        self.worker_id = self.enlisted["worker_id"]

    def post(self, verb: str, body: Any) -> Any:
        return self.client.post(f"{API}/{self.worker_id}/{verb}", json=body)

    def claim(self, most: int = 10, **more: Any) -> list[dict[str, Any]]:
        answer = self.post("claim", {"max": most, **more})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["tasks"]
        return found

    def settle(self, *works: dict[str, Any], **outcome: Any) -> Any:
        return self.post("settle", [{"claim": work["claim"], **(outcome or {"outcome": "finish"})} for work in works])


@pytest.fixture
def remote(client: TestClient) -> Remote:
    return Remote(client)


def key_of(work: dict[str, Any]) -> Key:
    return Key(work["claim"]["flow_id"], work["claim"]["exec_seq"])


def answers(response: Any) -> list[str]:
    return [one["answer"] for one in response.json()["answers"]]


def change(db: Database, key: Key, **columns: Any) -> None:
    row = task_stat.c.task_flow_id == key.flow_id, task_stat.c.task_exec_seq == key.seq
    with db.transaction() as conn:
        conn.execute(update(task_stat).where(*row).values(**columns))


def test_a_worker_is_a_row_like_any_watcher(db: Database, client: TestClient) -> None:
    remote = Remote(client, "resize", "crop", queues=["images", "default"], slots=4, host="gpu-1", label="blue", pid=7)
    (row,) = rows(db, watcher)
    assert (row.host, row.label, row.pid, row.queues, row.slots) == ("gpu-1", "blue", 7, "images,default", 4)
    assert json.loads(row.programs) == ["crop", "resize"]
    assert remote.enlisted == {"worker_id": row.watcher_id, "lease_s": 30.0, "beat_s": 7.5}
    with db.read() as conn:
        assert offered(conn, ["images", "other"], besides="me") == {
            "images": {"crop", "resize"},
            "other": frozenset(),
        }


def test_it_runs_a_flow_step_by_step(db: Database, remote: Remote) -> None:
    define(db, steps=2, program="resize", param1_key="size", param1_value="3")
    flow_id = start(db, parameters={"size": "4", "colour": "red"})
    (first,) = remote.claim()
    assert first["parameters"] == {"size": "4", "colour": "red"}
    assert first["from_flow"] == ["colour"]
    assert (first["program"], first["task_seq"], first["fence"], first["claim"]["attempt"]) == ("resize", 1, 1, 1)
    assert remote.claim() == []
    assert answers(remote.settle(first, outcome="finish", result={"w": 7})) == ["settled"]
    assert json.loads(task(db, (flow_id, 1)).result) == {"w": 7}
    (second,) = remote.claim()
    found = remote.post("inputs", {"claim": second["claim"], "what": ["upstream", "results", "arrivals"]}).json()
    assert found == {"results": {"1": {"w": 7}}, "upstream": [{"w": 7}], "arrivals": []}
    remote.settle(second)
    assert flow(db, flow_id).flow_status == 3
    assert rows(db, attempt) == [], "a try that simply finished leaves no record, as with any watcher"


def test_templates_and_mappings_are_worked_out_before(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    flow_id = start(db, parameters={"n": 5}, run_key="2024-03-31")
    key = Key(flow_id, 1)
    own = {"day": "{{ ds }}", "plain": "{{ ds }}"}
    kept = '{"twice": "result.n * 2"}'
    change(
        db, key, parameters=json.dumps(own), templates='["day"]', input_mapping='{"m": "params.n + 1"}',
        output_mapping=kept,
    )  # fmt: skip
    (work,) = remote.claim()
    assert work["parameters"] == {"day": "2024-03-31", "plain": "{{ ds }}", "m": 6, "n": 5}
    remote.settle(work, outcome="finish", result={"n": 21})
    assert json.loads(task(db, key).result) == {"twice": 42}


def test_what_cannot_run_as_it_stands_is_suspended_and_not_handed_out(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    bad, good = start(db), start(db)
    change(db, Key(bad, 1), parameters='{"p": "{{ nobody }}"}', templates='["p"]')
    assert [key_of(work).flow_id for work in remote.claim()] == [good]
    assert (task(db, (bad, 1)).exec_status, task(db, (bad, 1)).reason) == (2, "bad parameters")


def test_tasks_of_other_programs_and_queues_are_left_alone(db: Database, remote: Remote) -> None:
    insert = {"wait_count": 0, "task_id": "w"}
    insert_task(db, "mine", program="resize", **insert)
    insert_task(db, "program", program="other", **insert)
    insert_task(db, "queue", program="resize", queue="elsewhere", **insert)
    insert_task(db, "alone", program="resize", is_exclusive=True, **insert)
    assert [key_of(work).flow_id for work in remote.claim()] == ["mine"]
    (work,) = remote.claim(exclusive=True)
    assert (key_of(work).flow_id, work["exclusive"]) == ("alone", True)


def test_limits_hold_for_remote_workers_too(db: Database, remote: Remote) -> None:
    """Within them, still only what the worker offers."""
    sql(db, "INSERT INTO ms_limit (scope, name, max_running) VALUES ('workflow', 'w', 2)")
    for number in range(3):
        insert_task(db, f"foreign{number}", program="other", wait_count=0)
        insert_task(db, f"mine{number}", program="resize", wait_count=0)
        insert_task(db, f"alone{number}", program="resize", wait_count=0, is_exclusive=True)
    works = remote.claim()
    assert [key_of(work).flow_id for work in works] == ["mine0", "mine1"]
    assert remote.claim() == []
    remote.settle(works[0])
    assert [key_of(work).flow_id for work in remote.claim()] == ["mine2"]


def test_the_same_settle_again_is_answered_the_same(db: Database, remote: Remote) -> None:
    define(db, steps=2, program="resize")
    flow_id = start(db)
    (work,) = remote.claim()
    for _ in range(3):
        answer = remote.settle(work, outcome="finish", result=1)
        assert (answer.status_code, answers(answer)) == (200, ["settled"])
    assert states(db, flow_id) == [(3, -1), (0, 0)]
    assert flow(db, flow_id).finish_count == 1


@pytest.mark.parametrize(
    "outcome, status, reason",
    [
        ({"outcome": "fail", "error": "no paper", "traceback": "line 1"}, 2, "failed"),
        ({"outcome": "fail", "error": "too slow", "timed_out": True}, 2, "timed out"),
        ({"outcome": "fail", "error": "no size", "refused": "bad parameters"}, 2, "bad parameters"),
        ({"outcome": "again", "after": 3600}, 0, "again"),
        ({"outcome": "await", "kind": "message", "name": "paid", "key": "7"}, 0, "awaiting"),
        ({"outcome": "release"}, 0, "released"),
        ({"outcome": "plan", "tasks": [{"program": "resize", "after": ["nobody"]}]}, 2, "bad result"),
        ({"outcome": "choose", "steps": ["nobody"]}, 2, "bad result"),
    ],
)
def test_every_outcome_can_be_said(
    db: Database, remote: Remote, outcome: dict[str, Any], status: int, reason: str
) -> None:
    define(db, program="resize")
    flow_id = start(db)
    (work,) = remote.claim()
    for _ in range(2):  # the answer to the first was lost
        assert answers(remote.settle(work, **outcome)) == ["settled"]
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.reason) == (status, reason)
    if outcome["outcome"] == "fail":
        assert row.error == outcome["error"]
    if outcome["outcome"] == "await":
        assert [(one.kind, one.name, one.correlation_key) for one in rows(db, wait)] == [("message", "paid", "7")]


def test_a_failure_is_tried_again_by_the_rule_of_the_row(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    key = Key(start(db), 1)
    change(db, key, max_attempts=2, retry_delay_s=0.0)
    (work,) = remote.claim()
    remote.settle(work, outcome="fail", error="once")
    assert (task(db, key).reason, task(db, key).attempt) == ("retry", 1)


def test_a_plan_adds_tasks(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    flow_id = start(db)
    (work,) = remote.claim()
    tasks = [{"program": "resize", "name": "a"}, {"program": "resize", "after": ["a"], "parameters": {"n": 2}}]
    remote.settle(work, outcome="plan", tasks=tasks)
    assert states(db, flow_id) == [(3, -1), (0, 0), (0, 1)]


def test_a_plan_takes_an_author(db: Database, client: TestClient, remote: Remote) -> None:
    define(db, program="resize")
    start(db)
    (work,) = remote.claim()
    remote.client = let_in(client, db, "worker")
    answer = remote.settle(work, outcome="plan", tasks=[{"program": "HTTPPostRequest"}])
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:penstock:problem:forbidden")
    assert answers(remote.settle(work)) == ["settled"]


def test_a_worker_works_and_steers_nothing(db: Database, client: TestClient) -> None:
    define(db, program="resize")
    flow_id = start(db)
    remote = Remote(let_in(client, db, "worker"))
    (work,) = remote.claim()
    steering = {
        f"{verb}": remote.client.post(f"/api/v1/flows/{flow_id}/{verb}", json={}) for verb in ("cancel", "retry")
    }
    steering["register"] = remote.client.post("/api/v1/workflows/w/register", json={})
    assert {name: answer.status_code for name, answer in steering.items()} == dict.fromkeys(steering, 403)
    assert remote.client.get(f"/api/v1/flows/{flow_id}").status_code == 200
    assert answers(remote.settle(work)) == ["settled"]
    viewer = let_in(client, db, "viewer")
    assert viewer.post(API, json={"programs": ["p"]}).status_code == 403


def test_who_reaches_only_some_workflows_is_no_worker(db: Database, client: TestClient, remote: Remote) -> None:
    """Nor one in another's name, whose id the list of watchers says."""
    define(db, program="resize")
    start(db)
    remote.client = let_in(client, db, "operator", workflows=["a*"])
    assert remote.client.post(API, json={"programs": ["p"]}).status_code == 403
    assert remote.post("claim", {"max": 1}).status_code == 403
    assert remote.client.delete(f"{API}/{remote.worker_id}").status_code == 403
    assert rows(db, watcher)[0].state == "running"


def test_a_late_settle_is_refused_and_changes_nothing(db: Database, remote: Remote, client: TestClient) -> None:
    define(db, steps=2, program="resize")
    flow_id = start(db)
    (work,) = remote.claim()
    kill_lease(db, remote.worker_id)
    assert supervise.reap(db, grace_s=0) == 1
    (again,) = Remote(client).claim()
    before = task(db, (flow_id, 1))
    answer = remote.settle(work, outcome="finish", result="late")
    assert (answer.status_code, answers(answer)) == (409, ["stale"])
    assert answer.headers["content-type"] == "application/problem+json"
    assert task(db, (flow_id, 1)) == before
    assert states(db, flow_id)[1] == (0, 1)
    assert answers(remote.settle(again)) == ["settled"]


def test_a_settle_after_the_lease_counts_if_nobody_has_taken_the_task(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    flow_id = start(db)
    (work,) = remote.claim()
    kill_lease(db, remote.worker_id)
    supervise.reap(db, grace_s=0)
    assert answers(remote.settle(work)) == ["settled"]
    assert flow(db, flow_id).flow_status == 3


def test_a_claim_that_nobody_made_leaves_no_trace(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    flow_id = start(db)
    (work,) = remote.claim()
    for wrong in (
        {**work["claim"], "claim_id": "made-up"},
        {**work["claim"], "flow_id": "nobody"},
        {**work["claim"], "attempt": 9},
    ):
        answer = remote.post("settle", [{"claim": wrong, "outcome": "finish"}])
        assert answer.status_code == 409, wrong
    assert (states(db, flow_id), rows(db, attempt)) == ([(1, 0)], [])


def test_a_batch_says_what_became_of_each(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    for _ in range(3):
        start(db)
    works = remote.claim()
    batch = [{"claim": work["claim"], "outcome": "finish"} for work in works]
    batch[1]["claim"] = {**batch[1]["claim"], "claim_id": "made-up"}
    assert answers(remote.post("settle", batch)) == ["settled", "stale", "settled"]


def test_the_same_claim_request_again_is_answered_the_same(db: Database, remote: Remote) -> None:
    """The answer to the first was lost."""
    define(db, program="resize")
    for _ in range(4):
        start(db)
    first = remote.claim(2, request="r1")
    assert remote.claim(2, request="r1") == first
    assert len(remote.claim(10, request="r2")) == 2


def test_a_beat_says_what_was_lost(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    lost, kept = (start(db) for _ in range(2))
    works = {key_of(work).flow_id: work for work in remote.claim()}
    sql(db, "UPDATE kr_task_stat SET exec_status = 9 WHERE task_flow_id = :flow", flow=lost)
    told = remote.post("beat", {"holding": [work["claim"] for work in works.values()]}).json()
    assert told == {"lease_s": 30.0, "lost": [works[lost]["claim"]], "drain": False}
    assert task(db, (kept, 1)).exec_status == 1


def test_a_beat_returns_what_the_worker_never_heard_of(db: Database, remote: Remote) -> None:
    """Not at once: the answer to a claim may be on its way."""
    define(db, program="resize")
    flow_id = start(db)
    remote.claim()
    remote.post("beat", {"holding": []})
    assert task(db, (flow_id, 1)).exec_status == 1
    sql(db, "UPDATE kr_task_stat SET started_ts = '2001-01-01 00:00:00'")
    remote.post("beat", {})
    assert task(db, (flow_id, 1)).exec_status == 1, "what it does not say is not held against it"
    remote.post("beat", {"holding": []})
    assert (task(db, (flow_id, 1)).exec_status, task(db, (flow_id, 1)).attempt) == (0, 0)


def test_drain_reaches_the_worker(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    start(db)
    sql(db, "UPDATE kr_watcher SET wanted = 'drain'")
    answer = remote.post("claim", {"max": 5}).json()
    assert (answer["tasks"], answer["drain"]) == ([], True)
    assert remote.post("beat", {}).json()["drain"] is True
    assert rows(db, watcher)[0].state == "draining"


def test_leaving_hands_everything_back(db: Database, remote: Remote, client: TestClient) -> None:
    define(db, program="resize")
    flow_id = start(db)
    remote.claim()
    assert client.delete(f"{API}/{remote.worker_id}").json() == {"returned": 1}
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.reason, row.attempt) == (0, "released", 0)
    for verb, body in (("beat", {}), ("claim", {}), ("log", {"parts": []})):
        assert remote.post(verb, body).status_code in (404, 422)
    assert remote.post("claim", {}).json()["type"] == "urn:penstock:problem:unknown-worker"


def test_nobody_acts_as_a_watcher_of_this_installation(db: Database, client: TestClient) -> None:
    from factories import enlisted

    enlisted(db, "watcher-1")
    define(db, program="resize")
    start(db)
    (held,) = claim_here(db)
    claim = {"flow_id": held.key.flow_id, "exec_seq": 1, "claim_id": held.claim_id, "attempt": 1}
    for verb, body in (("claim", {}), ("beat", {}), ("settle", [{"claim": claim, "outcome": "finish"}])):
        assert client.post(f"{API}/watcher-1/{verb}", json=body).status_code == 404


def test_what_a_try_logs_is_there_while_it_runs_and_afterwards(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    flow_id = start(db)
    (work,) = remote.claim()
    for text in ("one\n", "two \x00\n"):
        assert remote.post("log", {"parts": [{"claim": work["claim"], "text": text}]}).json() == {"left_out": [0]}
    assert [row.text for row in rows(db, task_log)] == ["one\n", "two ␀\n"]
    remote.post("settle", [{"claim": work["claim"], "outcome": "finish", "log": "three"}])
    assert rows(db, task_log) == []
    (kept,) = rows(db, attempt)
    assert (kept.task_flow_id, kept.outcome, kept.log) == (flow_id, "finished", "one\ntwo ␀\nthree")
    assert remote.post("log", {"parts": [{"claim": work["claim"], "text": "x"}]}).json() == {"left_out": [None]}


def test_the_log_of_a_try_is_bounded(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    start(db)
    (work,) = remote.claim()
    part = {"parts": [{"claim": work["claim"], "text": "x" * 65_536}]}
    left_out = [remote.post("log", part).json()["left_out"][0] for _ in range(18)]
    assert left_out == [0] * 16 + [65_536] * 2


def test_a_lost_try_keeps_what_it_had_logged(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    start(db)
    (work,) = remote.claim()
    remote.post("log", {"parts": [{"claim": work["claim"], "text": "so far\n"}]})
    kill_lease(db, remote.worker_id)
    supervise.reap(db, grace_s=0)
    assert [(row.outcome, row.log) for row in rows(db, attempt)] == [("lost", "so far\n")]
    assert rows(db, task_log) == []
    remote.claim()
    for _ in range(2):  # and what comes too late belongs to it, said once or twice
        remote.post("settle", [{"claim": work["claim"], "outcome": "finish", "log": "the rest"}])
        assert [(row.outcome, row.log) for row in rows(db, attempt)] == [("stale", "so far\nthe rest")]


def test_a_worker_that_waits_hears_of_work_at_once(
    db: Database, client: TestClient, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the next look, which comes too late here."""
    monkeypatch.setattr(waiting_workers, "LONGEST_S", 30.0)
    client.app.state.service.workers._pause_s = 15.0  # type: ignore[attr-defined]
    define(db, program="resize")
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        asked = pool.submit(remote.claim, 1, wait_s=20)
        time.sleep(0.3)  # it waits by then; if not, it finds the task without waiting
        assert client.post("/register/w").status_code == 200
        assert len(asked.result(10)) == 1
    assert time.monotonic() - began < 5


def test_many_that_wait_cost_one_query_and_share_the_work(
    db: Database, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    asked = waiting_workers.ready

    def counted(conn: Any, queues: Any, programs: Any, most: int) -> Any:
        looks.append(most)
        return asked(conn, queues, programs, most)

    monkeypatch.setattr(waiting_workers, "ready", counted)
    define(db, program="resize")
    crew = [Remote(client) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(one.claim, 1, wait_s=3) for one in crew]
        time.sleep(1.0)
        before = len(looks)
        for _ in range(5):
            client.post("/register/w")
        got = [len(one.result(15)) for one in waiting]
    assert sorted(got) == [0] * 7 + [1] * 5
    assert before < 12, "looks grow rarer while nothing comes, however many wait"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"programs": []},
        {"programs": ["p"], "queues": ["a,b"]},
        {"programs": ["p"], "queues": [f"{n:064}" for n in range(20)]},
        {"programs": ["p"], "lease_s": 0.1},
        {"programs": ["p"], "slots": "4"},
        {"programs": ["p"], "surprise": 1},
        {"programs": "p"},
        [],
    ],
)
def test_who_cannot_be_enlisted(db: Database, client: TestClient, body: Any) -> None:
    answer = client.post(API, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert rows(db, watcher) == []


CLAIM = {"flow_id": "f", "exec_seq": 1, "claim_id": "c", "attempt": 1}


@pytest.mark.parametrize(
    "verb, body",
    [
        ("claim", {"max": 0}),
        ("claim", {"max": 501}),
        ("claim", {"wait_s": 26}),
        ("claim", {"request": ""}),
        ("beat", {"holding": [{}]}),
        ("settle", {}),
        ("settle", []),
        ("settle", [{"outcome": "finish"}]),
        ("settle", [{"claim": CLAIM, "outcome": "explode"}]),
        ("settle", [{"claim": CLAIM, "outcome": "fail"}]),
        ("settle", [{"claim": CLAIM, "outcome": "again"}]),
        ("settle", [{"claim": CLAIM, "outcome": "again", "after": -1}]),
        ("settle", [{"claim": CLAIM, "outcome": "again", "at": "2024-01-01T00:00:00"}]),
        ("settle", [{"claim": CLAIM, "outcome": "await", "kind": "message", "name": "n"}]),
        ("settle", [{"claim": CLAIM, "outcome": "await", "kind": "timer"}]),
        ("settle", [{"claim": CLAIM, "outcome": "finish"}] * 501),
        ("settle", [{"claim": {**CLAIM, "exec_seq": 2**63}, "outcome": "finish"}]),
        ("log", {"parts": [{"claim": CLAIM, "text": "x" * 65_537}]}),
        ("inputs", {"claim": CLAIM, "what": ["everything"]}),
    ],
)
def test_what_does_not_fit_is_said_and_changes_nothing(remote: Remote, verb: str, body: Any) -> None:
    answer = remote.post(verb, body)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:penstock:problem:bad-request"), answer.text


def test_odd_texts_do_no_harm(db: Database, remote: Remote) -> None:
    define(db, program="resize")
    key = Key(start(db), 1)
    (work,) = remote.claim()
    answer = remote.client.post(
        f"{API}/{remote.worker_id}/settle",
        content=json.dumps([{"claim": work["claim"], "outcome": "finish", "result": "\ud800"}]),
    )
    assert (answer.status_code, answers(answer)) == (200, ["settled"])
    assert (task(db, key).exec_status, task(db, key).reason) == (2, "bad result")


def test_twenty_workers_share_the_tasks_and_none_is_run_twice(db: Database, client: TestClient) -> None:
    define(db, program="resize")
    flows = [start(db) for _ in range(60)]
    ran: list[str] = []
    lock = threading.Lock()

    def work(remote: Remote) -> None:
        while works := remote.claim(3):
            remote.settle(*works)
            with lock:
                ran.extend(key_of(one).flow_id for one in works)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [Remote(client) for _ in range(8)]))
    assert sorted(ran) == sorted(flows)
    assert {row.claims for row in rows(db, task_stat)} == {1}
