"""Rows whose every text looks like an option: they are data to the watcher, its children and the command line."""

from __future__ import annotations

import json

import processes
import pytest
from factories import define, flow, task
from sqlalchemy import insert
from waiting import finished
from watching import Watch

from engine.database import Database
from engine.tables import task_option

pytestmark = [pytest.mark.by_turns, pytest.mark.timeout(60)]
WORKFLOW, PROGRAM, QUEUE = "--help", "--version", "-c"
"""Of the workflow, and of a program of the battery."""
TEXT, NAME, RUN_KEY, KEY = "-cimport os;os.abort()", "--db", "--json", "-"


def test_a_row_that_looks_like_options_is_data(db: Database, url: str, watch: Watch) -> None:
    define(db, WORKFLOW, program=PROGRAM, param1_key="text", param1_value=TEXT)
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id=WORKFLOW, task_seq=1, queue=QUEUE, name="-m"))
    given = [f"--run-key={RUN_KEY}", f"--key={KEY}", f"--param={NAME}=-x", "--tag=-t", "--db", url]
    said = processes.run("register", *given, "--", WORKFLOW)
    assert said.returncode == 0, said.stderr
    watch("battery_process", queues=(QUEUE,))
    flow_id = said.stdout.strip()
    finished(db, flow_id)
    found = json.loads(task(db, (flow_id, 1)).result)
    assert (found["text"], found["flow"], found["seq"]) == (TEXT, {NAME: "-x"}, 1)
    assert (flow(db, flow_id).run_key, flow(db, flow_id).idempotency_key) == (RUN_KEY, KEY)
    ours = [TEXT, NAME, RUN_KEY, WORKFLOW, PROGRAM, flow_id]
    assert [word for word in found["words"] if any(text in word for text in ours)] == []
    assert len(found["words"]) > 10, "it looked"
