"""What a command changed stands in its record: before and after, of every verb that there is, and never a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from awaiting import awaiting, wait_of
from factories import claim, define, enlisted, finish, rows, settle_as, sql, start, together

from engine.access import Actor, Role
from engine.commands import COMMANDS, Ask, carry_out
from engine.commands.asked_by_sql import carry_out_asked
from engine.commands.changes import in_groups, of_members, spans
from engine.database import Database
from engine.settle import Settlement
from engine.states import Reason
from engine.tables import command, flow_stat, workflow_version
from engine.waiting.tokens import digest, id_of

ANN = Actor("ann", door="cli")
SOME: Final = "<some text>"
"""Stands for an id or an instant that cannot be foretold."""
TOKEN: Final = "T" * 43
HASH: Final = "ab12" * 16
Case = Callable[[Database], tuple[Ask, Any, Any]]
CASES: Final[dict[str, Case]] = {}


def case(made: Case) -> Case:
    """One verb: what is asked for, and what its record says of before and after."""
    CASES[made.__name__.lstrip("_")] = made
    return made


def record_of(db: Database, ask: Ask) -> Any:
    """The row that is left, once this was asked for by a call."""
    carry_out(db, ask, ANN)
    return rows(db, command)[-1]


def changes_of(row: Any) -> Any:
    """Its changes, in which what cannot be foretold is SOME."""
    text = re.sub(
        r'"[0-9a-f]{8}-[0-9a-f-]{27}"|"\d{4}-\d\d-\d\dT[^"]*Z"|"[0-9a-f]{64}(-[0-9a-f]+)?"',
        json.dumps(SOME),
        row.changes,
    )
    return json.loads(text)


def flow_of(db: Database, steps: int = 3, **columns: Any) -> str:
    define(db, steps=steps, **columns)
    return start(db)


def failed(db: Database) -> str:
    """The first of three tasks is suspended."""
    flow_id = flow_of(db)
    enlisted(db)
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
    return flow_id


def asked(db: Database, verb: str, subject: str | None, **arguments: Any) -> None:
    carry_out(db, Ask(verb, subject, arguments), ANN)


def of_tasks(seqs: str, status: str) -> dict[str, Any]:
    return {"tasks": [{"seqs": seqs, "status": status}]}


@case
def _register(db: Database) -> Any:
    define(db)
    return Ask("register", "w"), None, {"task_flow_id": SOME, "task_id": "w"}


@case
def _apply(db: Database) -> Any:
    asked(db, "apply", "w", document={"steps": [{"program": "Noop"}]})
    after = {"version_id": SOME, "stamp": SOME}
    return Ask("apply", "w", {"document": {"steps": [{"program": "Noop", "priority": 3}]}}), after, after


@case
def _delete_workflow(db: Database) -> Any:
    define(db)
    return Ask("delete_workflow", "w"), {"version_id": SOME}, None


@case
def _pause(db: Database) -> Any:
    before = {"status": "WAIT"} | of_tasks("1,3", "WAIT")
    return Ask("pause", flow_of(db), {"seqs": [1, 3]}), before, {"status": "SUSPEND"} | of_tasks("1,3", "SUSPEND")


@case
def _resume(db: Database) -> Any:
    flow_id = flow_of(db)
    asked(db, "pause", flow_id)
    before = {"status": "SUSPEND"} | of_tasks("1-3", "SUSPEND")
    return Ask("resume", flow_id), before, {"status": "WAIT"} | of_tasks("1-3", "WAIT")


@case
def _recover(db: Database) -> Any:
    flow_id = flow_of(db)
    asked(db, "cancel", flow_id)
    before = {"status": "IGNORE"} | of_tasks("1-3", "IGNORE")
    return Ask("recover", flow_id), before, {"status": "WAIT"} | of_tasks("1-3", "WAIT")


@case
def _retry(db: Database) -> Any:
    before = {"status": "SUSPEND"} | of_tasks("1", "SUSPEND")
    return Ask("retry", failed(db), {"seqs": [1]}), before, {"status": "RUNNING"} | of_tasks("1", "WAIT")


@case
def _ignore(db: Database) -> Any:
    before = {"status": "SUSPEND"} | of_tasks("1", "SUSPEND")
    return Ask("ignore", failed(db), {"seqs": [1]}), before, {"status": "RUNNING"} | of_tasks("1", "IGNORE")


@case
def _finish(db: Database) -> Any:
    before = {"status": "WAIT"} | of_tasks("1", "WAIT")
    ask = Ask("finish", flow_of(db), {"seqs": [1], "result": 7})
    return ask, before, {"status": "RUNNING"} | of_tasks("1", "FINISH")


@case
def _cancel(db: Database) -> Any:
    before = {"status": "SUSPEND", "tasks": [{"seqs": "1", "status": "SUSPEND"}, {"seqs": "2-3", "status": "WAIT"}]}
    return Ask("cancel", failed(db)), before, {"status": "IGNORE"} | of_tasks("1-3", "IGNORE")


@case
def _rerun(db: Database) -> Any:
    flow_id = flow_of(db)
    enlisted(db)
    finish(db, *claim(db))
    return Ask("rerun", flow_id, {"seqs": [1]}), of_tasks("1", "FINISH"), of_tasks("1", "WAIT")


@case
def _run_again(db: Database) -> Any:
    flow_id = flow_of(db)
    return Ask("run_again", flow_id), None, {"task_flow_id": SOME, "rerun_of": SOME}


@case
def _set_priority(db: Database) -> Any:
    flow_id = flow_of(db, task_priority=4)
    asked(db, "set_priority", flow_id, priority=5, seqs=[2])
    before = {"tasks": [{"seqs": "1,3", "task_priority": 4}]}
    return Ask("set_priority", flow_id, {"priority": 5}), before, {"tasks": [{"seqs": "1,3", "task_priority": 5}]}


@case
def _set_parameters(db: Database) -> Any:
    flow_id = flow_of(db, param1_key="A", param1_value="1", param2_key="B", param2_value="2")
    before = {"tasks": [{"seqs": "2", "parameters": {"A": "1"}}]}
    after = {"tasks": [{"seqs": "2", "parameters": {"A": [9], "C": "new"}}]}
    return Ask("set_parameters", flow_id, {"seqs": [2], "parameters": {"A": [9], "B": "2", "C": "new"}}), before, after


@case
def _set_flow_parameters(db: Database) -> Any:
    define(db)
    flow_id = start(db, parameters={"A": 1, "B": 2})
    ask = Ask("set_flow_parameters", flow_id, {"parameters": {"B": 3}, "replace": True})
    return ask, {"parameters": {"A": 1, "B": 2}}, {"parameters": {"B": 3}}


@case
def _bulk(db: Database) -> Any:
    failed(db)
    start(db)
    ask = Ask("bulk", None, {"verb": "cancel", "where": {"task_id": "w"}, "dry_run": False})
    after = {"statuses": {"IGNORE": 6}, "flows": 2, "tasks": 6}
    return ask, {"statuses": {"WAIT": 5, "SUSPEND": 1}}, after


@case
def _answer(db: Database) -> Any:
    define(db)
    wait_id = wait_of(db, awaiting(db, "approval", name="ok?")).wait_id
    ask = Ask("answer", wait_id, {"payload": {"approved": True}})
    return ask, {"state": "open", "closed_by": None}, {"state": "arrived", "closed_by": "ann"}


@case
def _send(db: Database) -> Any:
    define(db)
    awaiting(db, name="paid", key="7")
    return Ask("send", "paid", {"key": "7"}), None, {"message_id": SOME, "wait_id": SOME}


@case
def _call_back(db: Database) -> Any:
    define(db)
    awaiting(db, "callback", key=TOKEN)
    before = {"wait_id": SOME, "state": "open", "closed_by": None}
    return Ask("call_back", None, {"token": TOKEN}), before, before | {"state": "arrived", "closed_by": "ann"}


@case
def _pause_queue(db: Database) -> Any:
    after = {"paused_ts": SOME, "paused_by": "ann", "paused_reason": "late"}
    return Ask("pause_queue", "mail", {}, "late"), None, after


@case
def _resume_queue(db: Database) -> Any:
    asked(db, "pause_queue", "mail")
    return Ask("resume_queue", "mail"), {"paused_ts": SOME, "paused_by": "ann"}, None


@case
def _pause_workflow(db: Database) -> Any:
    asked(db, "set_limit", "w", scope="workflow", max_running=2)
    before = {"paused_ts": None, "paused_by": None}
    return Ask("pause_workflow", "w"), before, {"paused_ts": SOME, "paused_by": "ann"}


@case
def _resume_workflow(db: Database) -> Any:
    asked(db, "pause_workflow", "w")
    return Ask("resume_workflow", "w"), {"paused_ts": SOME, "paused_by": "ann"}, None


@case
def _set_limit(db: Database) -> Any:
    asked(db, "set_limit", "mail", scope="queue", max_running=10)
    ask = Ask("set_limit", "mail", {"scope": "queue", "max_running": 20})
    return ask, {"max_running": 10}, {"max_running": 20}


@case
def _drop_limit(db: Database) -> Any:
    asked(db, "set_limit", "mail", scope="queue", rate=10)
    return Ask("drop_limit", "mail", {"scope": "queue"}), {"rate": 10, "rate_period_s": 1.0}, None


@case
def _drain(db: Database) -> Any:
    return Ask("drain", enlisted(db)), {"wanted": None}, {"wanted": "drain"}


@case
def _create_token(db: Database) -> Any:
    told = {"token_hash": HASH, "role": "operator", "workflows": ["load_*"], "expires_s": 60}
    after = {"token_id": SOME, "name": "bi", "kind": "api", "role": "operator", "workflows": ["load_*"]}
    return Ask("create_token", "bi", told), None, after | {"expires_ts": SOME}


@case
def _revoke_token(db: Database) -> Any:
    made = carry_out(db, Ask("create_token", "bi", {"token_hash": HASH, "role": "viewer"}), ANN)
    before = {"revoked_ts": None, "revoked_by": None}
    return Ask("revoke_token", made["token_id"]), before, {"revoked_ts": SOME, "revoked_by": "ann"}


@case
def _set_principal(db: Database) -> Any:
    asked(db, "set_principal", "eve@example.org", role="viewer", workflows=["a"])
    ask = Ask("set_principal", "eve@example.org", {"role": "author"})
    return ask, {"role": "viewer", "workflows": ["a"]}, {"role": "author", "workflows": None}


@case
def _drop_principal(db: Database) -> Any:
    asked(db, "set_principal", "eve@example.org", role="viewer")
    return Ask("drop_principal", "eve@example.org"), {"disabled_ts": None}, {"disabled_ts": SOME}


@pytest.mark.parametrize("verb", sorted(COMMANDS))
def test_the_record_of_every_verb_says_what_was_before_and_what_is_after(db: Database, verb: str) -> None:
    """A new verb fails here until it has a case of its own."""
    ask, before, after = CASES[verb](db)
    row = record_of(db, ask)
    assert (row.verb, row.outcome) == (verb, "done")
    assert changes_of(row) == {"before": before, "after": after}
    assert not any(secret in row.changes for secret in (TOKEN, HASH, digest(TOKEN)))


def test_a_row_of_sql_says_it_as_well_and_what_was_refused_changed_nothing(db: Database) -> None:
    asked(db, "set_limit", "mail", scope="queue", max_running=10)
    told = json.dumps({"scope": "queue", "max_running": 20})
    for subject in ("mail", "mail\x1b"):
        sql(
            db,
            "INSERT INTO kr_command (verb, subject, arguments) VALUES ('set_limit', :to, :told)",
            to=subject,
            told=told,
        )
    flow_of(db)
    bulk = {"verb": "pause", "where": {"task_id": "w"}, "dry_run": False}
    sql(db, "INSERT INTO kr_command (verb, arguments) VALUES ('bulk', :told)", told=json.dumps(bulk))
    sql(db, "INSERT INTO kr_command (verb, subject) VALUES ('drain', 'nobody')")
    carry_out_asked(db, "watcher-1", role=Role.ADMIN)
    said = [None if row.changes is None else json.loads(row.changes) for row in rows(db, command)]
    assert said[1] == {"before": {"max_running": 10}, "after": {"max_running": 20}}
    after = {"statuses": {"SUSPEND": 3}, "flows": 1, "tasks": 3}
    assert said[3] == {"before": {"statuses": {"WAIT": 3}}, "after": after}
    assert said[4] is None


def test_what_changes_nothing_says_so(db: Database) -> None:
    define(db)
    wish = {"idempotency_key": "k"}
    asked(db, "register", "w", **wish)
    for ask in (
        Ask("register", "w", wish),
        Ask("bulk", None, {"verb": "cancel", "where": {"task_id": "w"}}),
        Ask("resume", rows(db, flow_stat)[0].task_flow_id),
        Ask("apply", "v", {"document": {"steps": [{"program": "Noop"}]}, "dry_run": True}),
    ):
        assert json.loads(record_of(db, ask).changes) == {"before": {}, "after": {}}, ask.verb


def test_what_is_done_to_sub_flows_is_counted(db: Database) -> None:
    flow_id = flow_of(db, steps=1)
    child = start(db)
    sql(
        db,
        "UPDATE kr_flow_stat SET parent_flow_id = :p, parent_exec_seq = 1 WHERE task_flow_id = :c",
        p=flow_id,
        c=child,
    )
    said = json.loads(record_of(db, Ask("cancel", flow_id)).changes)
    assert (said["before"]["sub_flows"], said["after"]["sub_flows"]) == ({"WAIT": 1}, {"IGNORE": 1})


def test_a_call_back_that_comes_early_is_a_message_and_its_token_stands_nowhere(db: Database) -> None:
    row = record_of(db, Ask("call_back", None, {"token": TOKEN, "payload": 1}))
    assert json.loads(row.changes) == {"before": None, "after": {"message_id": id_of(digest(TOKEN))}}
    assert TOKEN not in str(rows(db, command))


def test_a_deleted_workflow_can_be_read_by_the_version_in_its_record(db: Database) -> None:
    define(db)
    row = record_of(db, Ask("delete_workflow", "w"))
    [kept] = rows(db, workflow_version)
    assert json.loads(row.changes)["before"] == {"version_id": kept.version_id}


def test_two_who_set_a_limit_at_once_each_record_what_they_found(db: Database) -> None:
    """The second finds the row locked, or inserted meanwhile, and then what the first has left there."""
    for most in ((1, 2), (3, 4)):
        asks = [Ask("set_limit", "mail", {"scope": "queue", "max_running": number}) for number in most]
        together(*[lambda ask=ask: carry_out(db, ask, ANN) for ask in asks])
    found = [json.loads(row.changes) for row in rows(db, command)]
    chain = [(said["before"] or {"max_running": None})["max_running"] for said in found]
    reached = [said["after"]["max_running"] for said in found]
    assert sorted([*chain, reached[-1]], key=str) == sorted([None, *reached], key=str), "each is the next one's before"


@pytest.mark.by_turns
def test_a_record_stays_small(db: Database) -> None:
    flow_id = flow_of(db)
    big = {"A": "x" * 100_000} | {f"N{number}": number for number in range(200)}
    asked(db, "set_flow_parameters", flow_id, parameters=big)
    row = record_of(db, Ask("set_flow_parameters", flow_id, {"parameters": {}, "replace": True}))
    said = json.loads(row.changes)["before"]["parameters"]
    assert len(row.changes) < 3_000
    assert said["A"].endswith("... (100002 characters)")
    assert spans(range(1, 1_000, 2)).endswith(",97,99 and 450 more")
    told = in_groups({number: {"a": number} for number in range(100)})
    assert told[-1] == {"more": 80}
    assert of_members("no JSON", '{"a": 1}') == ({}, {"a": 1})
    long = [json.dumps({"a": "x" * 2_000 + end}) for end in "yz"]
    assert [sorted(side) for side in of_members(*long)] == [["a"], ["a"]], "they differ behind what is shown"
    asked(db, "set_flow_parameters", flow_id, parameters={"A": 1})
    sql(db, "UPDATE kr_flow_stat SET parameters = '{ \"A\": 1.0 }'")
    row = record_of(db, Ask("set_flow_parameters", flow_id, {"parameters": {"A": 1}}))
    assert json.loads(row.changes) == {"before": {}, "after": {}}
