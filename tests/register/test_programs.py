"""A register that knows programs refuses workflows that no program fits; one that does not leaves them to watchers."""

from __future__ import annotations

from typing import Any

from factories import define, flow, rows, sql
from sqlalchemy import insert

from engine.database import Database
from engine.tables import flow_stat, task_option
from penstock.services import program_check
from programs.catalogue import build_catalogue

CHECK = program_check(build_catalogue(autoload=False))


def test_an_unknown_program_is_refused_with_a_remedy(db: Database, serve: Any) -> None:
    define(db, "w", 2, program="Nop")
    client = serve(db, check=CHECK)
    answer = client.post("/register/w")
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"] == "urn:penstock:problem:unfit-program"
    assert "workflow 'w': step 1: no program is called 'Nop', did you mean 'Noop'?" in problem["detail"]
    assert "step 2: " in problem["detail"]
    assert "--no-check-programs" in problem["detail"]
    assert rows(db, flow_stat) == []


def test_without_the_check_it_is_left_to_the_watchers(db: Database, serve: Any) -> None:
    define(db, "w", program="Nop")
    assert serve(db).post("/register/w").status_code == 200


def test_parameters_that_do_not_fit(db: Database, serve: Any) -> None:
    define(db, "w", program="EchoParamTimeSleep", param1_key="SLEEP_TIME_SECOND", param1_value="long")
    client = serve(db, check=CHECK)
    answer = client.post("/register/w")
    assert answer.status_code == 422
    assert "step 1: program EchoParamTimeSleep: parameter SLEEP_TIME_SECOND" in answer.json()["detail"]
    sql(db, "UPDATE ms_task_definition SET param1_value = '0'")
    assert client.post("/register/w").status_code == 200, "edited rows are looked at anew"


def test_what_is_missing_may_come_with_the_registration(db: Database, serve: Any) -> None:
    define(db, "w", program="EchoParamTimeSleep")
    assert serve(db, check=CHECK).post("/register/w").status_code == 200


def test_what_is_worked_out_later_is_not_looked_at(db: Database, serve: Any) -> None:
    define(db, "w", program="EchoParamTimeSleep", param1_key="SLEEP_TIME_SECOND", param1_value="{{ params.s }}")
    assert serve(db, check=CHECK).post("/register/w").status_code == 200
    define(db, "v", program="EchoParamTimeSleep", param1_key="SLEEP_TIME_SECOND", param1_value="long")
    with db.transaction() as conn:
        mapping = '{"SLEEP_TIME_SECOND": "params.s"}'
        conn.execute(insert(task_option).values(task_id="v", task_seq=1, input_mapping=mapping))
    assert serve(db, check=CHECK).post("/register/v").status_code == 200


def test_phases_are_looked_at_too(db: Database, serve: Any) -> None:
    define(db, "w")
    with db.transaction() as conn:
        phases = {"pre_program": "Nop1", "post_program": "Nop2", "rollback_program": "Nop3"}
        conn.execute(insert(task_option).values(task_id="w", task_seq=1, **phases))
    detail = serve(db, check=CHECK).post("/register/w").json()["detail"]
    for words in ("pre_program: no program is called 'Nop1'", "post_program: no", "rollback_program: no"):
        assert words in detail


def test_the_check_costs_nothing_once_a_version_is_known(db: Database, serve: Any) -> None:
    asked: list[int] = []

    def check(step: Any) -> list[str]:
        asked.append(step.task_seq)
        return []

    define(db, "w", 3)
    client = serve(db, check=check)
    for _ in range(5):
        assert flow(db, client.post("/register/w").json()["taskFlowId"]).task_count == 3
    assert asked == [1, 2, 3]


def test_a_template_that_cannot_be_read(db: Database, serve: Any) -> None:
    define(db, "w", program="EchoParamTimeSleep", param1_key="SLEEP_TIME_SECOND", param1_value="{{ params.s ")
    answer = serve(db, check=CHECK).post("/register/w")
    assert answer.status_code == 422
    assert "step 1: parameter 'SLEEP_TIME_SECOND'" in answer.json()["detail"]
