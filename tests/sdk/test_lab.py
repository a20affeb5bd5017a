"""The lab: what a user's test sees of retries, timers, people, messages, limits and time."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.dialects.held_clock import held
from penstock import Again, Await, BadRequest, Call, Fail, Finish, NoResult, Outcome, Program, Refused, program
from penstock.models import Status
from penstock.testing import Lab, Unsettled, edge, open_lab, step
from penstock.testing.files import make_template

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def lab(template: Path, tmp_path: Path) -> Any:
    with open_lab(tmp_path, template=template) as opened:
        yield opened


def fetch(DAY: str) -> dict[str, Any]:
    return {"day": DAY, "rows": 3}


def load(call: Call) -> int:
    rows: int = call.upstream[0]["rows"]
    return rows * 2


def test_a_chain_of_functions_runs_to_its_end(lab: Lab) -> None:
    lab.define("load", fetch, load)
    flow = lab.run("load", {"DAY": "2026-11-22"}, run_key="2026-11-22", tags=["nightly"])
    assert flow.finished
    assert flow.ended
    assert flow.why == []
    assert flow.result == 6
    assert flow["fetch"].result == {"day": "2026-11-22", "rows": 3}
    assert flow[2] == flow["load"]
    assert (flow.row.run_key, flow.row.tags, flow.status) == ("2026-11-22", ("nightly",), Status.FINISH)
    assert [one.id for one in lab.flows] == [flow.id]
    assert repr(flow) == "<flow load: FINISH, 2 of 2 finished>"


def test_nothing_happens_before_there_is_work(lab: Lab) -> None:
    lab.define("load", "Noop")
    flow = lab.register("load")
    assert flow.status == Status.WAIT
    assert flow.why[0].startswith("1 Noop: ready: rank 1 in queue 'default'")
    with pytest.raises(NoResult):
        _ = flow.result
    lab.work()
    assert flow.finished


def test_retries_happen_each_at_its_time(lab: Lab) -> None:
    began = lab.now
    tries: list[timedelta] = []

    @lab.program("Flaky")
    def flaky() -> Outcome:
        tries.append(lab.now - began)
        return Fail("no luck") if len(tries) < 4 else Finish("at last")

    lab.define("w", step("Flaky", max_attempts=4, retry_delay_s=10, retry_backoff=2, retry_jitter=0))
    flow = lab.run("w")
    assert len(tries) == 1
    assert flow.status == Status.RUNNING or flow.status == Status.WAIT
    (why,) = flow.why
    assert why.startswith("1 Flaky: try 1 of 4 failed: no luck; the next is due at ")
    lab.advance(9.9)
    assert len(tries) == 1
    lab.advance(0.2)
    assert len(tries) == 2
    lab.advance(minutes=5)
    assert flow.result == "at last"
    assert [round(one.total_seconds(), 1) for one in tries] == [0.0, 10.0, 30.0, 70.0]
    tries.clear()
    flow = lab.run("w")
    lab.advance(seconds=10 + 20 + 40)
    assert flow.finished, "the sum of the delays is enough"
    assert timedelta(seconds=375) < lab.now - began < timedelta(seconds=381)


def test_a_year_passes_at_once(lab: Lab) -> None:
    lab.define("wait", step("Wait", {"SECONDS": 365 * 86_400}), "Noop")
    flow = lab.run("wait")
    assert flow.why[0].startswith("1 Wait: it waits for a time at ")
    assert flow.why[1].startswith("2 Noop: task 1 (Wait) has to end first")
    began = time.monotonic()
    lab.advance(days=364)
    assert not flow.finished
    lab.advance(days=1, seconds=1)
    assert flow.finished
    assert time.monotonic() - began < 20


def test_time_stands_still(lab: Lab) -> None:
    lab.define("wait", step("Wait", {"SECONDS": 0.2}))
    flow = lab.run("wait")
    time.sleep(0.4)
    lab.work()
    assert not flow.finished
    lab.advance(0.3)
    assert flow.finished


def test_a_person_a_message_and_a_call_back(lab: Lab) -> None:
    tokens: list[str] = []

    @lab.program
    def call_out(call: Call) -> Outcome:
        for arrival in call.arrivals:
            return Finish(arrival.payload)
        tokens.append(call.new_token())
        return Await("callback", key=tokens[0])

    lab.define(
        "talk",
        step("Approval", {"PROMPT": "go?", "CANDIDATES": ["ann"]}),
        step("WaitForMessage", {"NAME": "paid", "KEY": "7"}),
        call_out,
    )
    flow = lab.run("talk")
    assert flow.why[0] == "1 Approval: it waits for an approval by ann"
    with pytest.raises(Refused, match="ann"):
        lab.approve(flow, by="bob")
    lab.approve(flow, by="ann")
    assert flow["Approval"].result["approved"] is True
    with pytest.raises(LookupError, match="nothing of a person"):
        lab.approve(flow)
    lab.send("paid", "other order")
    assert flow["WaitForMessage"].status == Status.WAIT
    lab.send("paid", "7", {"sum": 120})
    lab.call_back(tokens[0], "done")
    assert flow.result == "done"


def test_an_answer_that_does_not_fit(lab: Lab) -> None:
    lab.define("ask", step("Form", {"PROMPT": "rows?", "SCHEMA": {"type": "integer"}}))
    flow = lab.run("ask")
    with pytest.raises(BadRequest):
        lab.answer(flow, "three")
    lab.answer(flow.waits[0], 3)
    assert flow.result == 3


def test_a_failure_says_why(lab: Lab) -> None:
    @lab.program
    def broken() -> Outcome:
        return Fail("out of paper")

    lab.define("print", broken, "Noop")
    flow = lab.run("print")
    assert (flow.suspended, flow.finished) == (True, False)
    assert flow.why == [
        "1 broken: it needs a person (failed): out of paper",
        "2 Noop: task 1 (broken) has to end first, and is SUSPEND, failed",
    ]
    assert "1    broken  SUSPEND" in flow.table()
    assert "out of paper" in repr(flow)
    assert flow.events == ["task suspended"]
    lab.client.ignore(flow.id, [1])
    lab.work()
    assert flow.finished


def test_the_program_of_a_test_takes_the_place_of_an_installed_one(lab: Lab) -> None:
    asked: list[str] = []

    @lab.program("HTTPGetRequest")
    def get(URL: str) -> dict[str, int]:
        asked.append(URL)
        return {"status": 200}

    lab.define("call", step("HTTPGetRequest", {"URL": "https://bank.example/"}))
    assert lab.run("call").result == {"status": 200}
    assert asked == ["https://bank.example/"]


def test_programs_reach_a_server_of_the_test_that_it_names(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        own = f"127.0.0.1:{closed.getsockname()[1]}"
    lab.define("call", step("HTTPGetRequest", {"URL": f"http://{own}/"}))
    assert "closed to programs" in str(lab.run("call")[1].error)
    lab.http_networks = [own]
    assert "Connection refused" in str(lab.run("call")[1].error)


def test_a_program_class_and_a_decorated_one(lab: Lab) -> None:
    @program("Own name")
    def own() -> int:
        return 4

    class Whole(Program):
        """A program as a plugin brings it."""

        name = "Whole program"

        def run(self, call: Call, N: int = 1) -> Outcome:
            return Finish(N + 1)

    lab.define("w", own, Whole, step(Whole(), {"N": 5}))
    flow = lab.run("w")
    assert [task.result for task in flow.tasks] == [4, 2, 6]
    with pytest.raises(TypeError, match="with a name of its own"):
        lab.program("Other")(Whole())


def test_branches_conditions_and_failure_policies(lab: Lab) -> None:
    lab.define(
        "branch",
        step("Value", {"VALUE": 7}, name="measure"),
        step("Noop", name="high"),
        step("Noop", name="low"),
        edges=[edge(1, 2, only_if="result > 5"), edge(1, 3, only_if="result <= 5")],
        failure_policy="stop",
    )
    flow = lab.run("branch")
    assert (flow["high"].status, flow["low"].status) == (Status.FINISH, Status.IGNORE)
    assert flow.row.failure_policy == "stop"
    with pytest.raises(KeyError, match=r"2 tasks are called so: ask by run number\. Tasks: 1 measure, 2 high, 3 low"):
        _ = flow["Noop"]
    with pytest.raises(KeyError, match="there is no such task"):
        _ = flow[9]


def test_tasks_run_in_the_order_of_claims(lab: Lab) -> None:
    ran: list[int] = []

    @lab.program
    def note(call: Call) -> None:
        ran.append(call.exec_seq)

    lab.define("wide", *[step(note) for _ in range(8)], edges=[(1, n) for n in range(2, 9)])
    flow = lab.register("wide")
    lab.client.set_priority(flow.id, -5, [7])
    lab.work()
    assert ran == [1, 7, 2, 3, 4, 5, 6, 8]


def test_a_limit_by_rate_and_a_pause_hold_back_until_their_time(lab: Lab) -> None:
    lab.define("w", *["Noop"] * 3)
    lab.client.set_limit("default", "queue", rate=1, rate_period_s=60)
    flow = lab.run("w")
    assert flow.row.finish_count == 1
    lab.advance(30)
    assert flow.row.finish_count == 1
    lab.advance(100)
    assert flow.finished
    lab.client.drop_limit("default", "queue")
    lab.client.pause_queue("default")
    held_back = lab.run("w")
    assert held_back.row.finish_count == 0
    lab.client.resume_queue("default")
    lab.work()
    assert held_back.finished


def test_a_flow_that_runs_out_of_its_time(lab: Lab) -> None:
    lab.define("slow", step("Wait", {"SECONDS": 1000}), timeout_s=100)
    flow = lab.run("slow")
    lab.advance(101)
    assert (flow.ended, flow.reason, flow.why[0]) == (True, "timed out", "the flow ended: timed out")


def test_a_sensor_is_looked_at_again_and_again(lab: Lab) -> None:
    looks: list[float] = []

    @lab.program
    def sensor() -> Outcome:
        looks.append(lab.now.timestamp())
        return Finish() if len(looks) == 4 else Again(after=60)

    lab.define("sense", sensor)
    flow = lab.run("sense")
    lab.advance(minutes=2, seconds=1)
    assert (len(looks), flow.finished) == (3, False)
    lab.advance(minutes=1)
    assert flow.finished
    assert [round(after - looks[0]) for after in looks] == [0, 60, 120, 180]


def test_every_queue_is_served_and_rows_made_by_hand_run(lab: Lab) -> None:
    lab.define("w", step("Noop", queue="gpu"))
    assert lab.run("w").finished
    lab.sql(
        "INSERT INTO kr_task_stat(task_flow_id, task_exec_seq, task_id, task_seq, program, parameters)"
        " VALUES ('by hand', 1, 'w', 1, 'Noop', '{}')"
    )
    lab.work()
    assert lab.flow("by hand").finished


def test_the_examples_as_they_are(lab: Lab, tmp_path: Path) -> None:
    lab.apply(EXAMPLES / "timer.sql")
    flow = lab.run("timer")
    assert not flow.finished
    lab.advance(hours=1)
    assert flow.finished
    lab.apply(EXAMPLES / "sub_flow.sql")
    assert lab.run("sub_flow").finished
    assert len(lab.flows) > 2
    toml = next(iter(sorted(EXAMPLES.rglob("by_size.toml"))))
    lab.apply(toml)
    assert lab.run("by_size")["in parts"].status == Status.FINISH
    nameless = tmp_path / "nameless.json"
    nameless.write_text("[1]")
    with pytest.raises(ValueError, match=r"nameless\.json does not say its task_id"):
        lab.apply(nameless)
    with pytest.raises(ValueError, match=r"ends in \.toml"):
        lab.apply(EXAMPLES / "README.md")


def test_what_cannot_be_defined(lab: Lab) -> None:
    with pytest.raises(TypeError, match=r"a step has no tries; it may have .*max_attempts"):
        step("Noop", tries=3)
    with pytest.raises(TypeError, match="a workflow has no owners"):
        lab.define("w", "Noop", owners="ann")
    with pytest.raises(ValueError, match="the edge 1 -> 3: there is no step 3 among 2"):
        lab.define("w", "Noop", "Noop", edges=[(1, 3)])
    lab.define("w", "NoSuchProgram")
    with pytest.raises(BadRequest, match="NoSuchProgram"):
        lab.run("w")
    lab.define("w", fetch)
    assert lab.run("w", {"DAY": "today"}).finished, "it is defined anew"


def test_what_never_comes_to_rest(lab: Lab) -> None:
    lab.timeout_s = 0.5

    @lab.program
    def endless(call: Call) -> None:
        call.stop.wait(30)

    lab.define("w", endless)
    with pytest.raises(Unsettled, match=r"still runs after 0\.5 s(.|\n)*1    endless  RUNNING"):
        lab.run("w")


def test_an_error_of_a_program_is_kept_with_its_task(lab: Lab) -> None:
    @lab.program
    def raises(call: Call) -> None:
        call.logger.warning("about to break")
        raise RuntimeError("broken")

    lab.define("w", raises)
    flow = lab.run("w")
    (tried,) = flow[1].attempts
    assert "RuntimeError: broken" in (tried.traceback or "")
    assert "about to break" in flow.logs(1)


def test_time_goes_forwards_only(lab: Lab) -> None:
    with pytest.raises(ValueError, match="forwards"):
        lab.advance(-1)


def test_the_clock_of_one_file_alone_is_held(template: Path, tmp_path: Path) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    with open_lab(tmp_path, template=template, start=start) as lab:
        with lab.db.read() as conn:
            assert timedelta(0) < lab.db.now(conn) - start < timedelta(seconds=1)  # type: ignore[operator]
        with pytest.raises(ValueError, match="held already"), held(str(tmp_path / "lab.db")):
            pass
        other = tmp_path / "other"
        other.mkdir()
        with open_lab(other, template=template) as second:
            assert second.now.year < 2030
    with held(str(tmp_path / "lab.db")):
        pass
