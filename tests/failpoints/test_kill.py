"""Processes killed at every failpoint there is, and what is left behind is finished by others: nothing lost, no task
executed more often than those who died can explain."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from databases import Databases
from factories import claim, define, define_graph, enlisted, kill_lease, rows, start
from forked import Forked
from invariants import hold
from patience import until
from servers import free_port
from sqlalchemy import insert, select
from witnessing import Acted, Begin, Witness

from engine import jsontext, migrate
from engine.commands.asked_by_sql import carry_out_asked
from engine.database import Database, open_database
from engine.failpoints import POINTS
from engine.ids import new_claim_id
from engine.tables import command, flow_stat, task_option

pytestmark = pytest.mark.slow
KILLED = -9
LOST_ANSWER = {"claim.read_back": "claim.after_commit=lose;", "register.read_back": "register.after_commit=lose;"}


def points(*rooms: str) -> list[str]:
    return [name for name in POINTS if name.split(".")[0] in rooms]


WAVES = [points("claim", "heartbeat", "drain"), points("dispatch", "settle"), points("due", "waits", "reap")]
"""Points at which watchers are killed, as many at once as the machine has room for."""
CALLERS = points("register")
BY_API = {*CALLERS[::2]}
"""The others take Flower's path."""
LATER = {"register.after_commit", "register.before_answer", "register.read_back"}
"""Here the flows exist already."""
ASKED = {"command.after_work": "", "command.before_commit": "@#2", "command.after_commit": "@#2"}
"""Points in commands, and which of those that a watcher carries out is its last."""


def spec_of(point: str) -> str:
    return f"{LOST_ANSWER.get(point, '')}{point}=kill"


def test_every_point_is_killed_at() -> None:
    mine = [point for wave in WAVES for point in wave] + CALLERS
    mine += [*ASKED, *points("migrate")]
    assert sorted(mine) == sorted(POINTS)


def test_watchers_killed_at_each_point(db: Database, witness: Witness, begin: Begin, acted: Acted) -> None:
    define_work(db)
    flows: list[str] = []
    for wave in WAVES:
        flows += [start(db, "diamond") for _ in range(3)]
        victims = [begin("watch", spec_of(point), *_options(point)) for point in wave]
        for point, victim in zip(wave, victims, strict=True):
            if point.startswith("drain."):
                victim.said("watcher started")
                victim.process.terminate()
        flows += keep_busy(db, victims, wave)
        assert [victim.ended() for victim in victims] == [KILLED] * len(wave)
    killed = {(point, pid) for point, pid, action in acted() if action == "kill"}
    assert sorted(point for point, _ in killed) == sorted(point for wave in WAVES for point in wave)
    begin("watch", "", "--queue", "default", "--queue", "slow", "--workers", 8)
    all_finished(db, 60)
    hold(db, at_rest=True)
    assert {row.task_flow_id for row in rows(db, flow_stat)} >= set(flows)
    explain(witness, {pid for _, pid in killed})


def define_work(db: Database) -> None:
    """A diamond of which one side needs a second try and the other awaits a timer, and lone tasks, quick and slow."""
    define_graph(db, "diamond", [(1, 2), (1, 3), (2, 4), (3, 4)], program="Witness")
    define(db, "lone", program="Witness", task_priority=-5)
    option: dict[str, Any] = {"task_id": "diamond", "max_attempts": 2, "retry_delay_s": 0.1}
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_seq=2, parameters='{"fails": true}', **option))
        conn.execute(insert(task_option).values(task_seq=3, parameters='{"awaits": true}', **option))
        for name, seconds in (("quick", 0.0), ("slow", 1.6)):
            parameters = f'{{"seconds": {seconds}}}'
            conn.execute(insert(task_option).values(task_id=name, task_seq=1, queue="slow", parameters=parameters))
    define(db, "quick", program="Witness", task_priority=-10)
    define(db, "slow", program="Witness")


def _options(point: str) -> Sequence[object]:
    """Tasks are handed back by a watcher that held more than it had workers for, and whose queue is its own. A kill in
    the heartbeat's own process would be that one's end alone."""
    if point == "dispatch.hand_back":
        return "--queue", "slow", "--workers", 1
    return ("--heartbeat-in", "thread") if point.startswith("heartbeat.") else ()


def keep_busy(db: Database, victims: Sequence[Forked], wave: Sequence[str]) -> list[str]:
    """Give the victims work until the last of them is dead."""
    flows: list[str] = []
    deadline = time.monotonic() + 60
    while any(victim.lives for victim in victims):
        assert time.monotonic() < deadline, "\n".join(v.log.read_text() for v in victims if v.lives)
        flows += [start(db, "diamond")]
        if "dispatch.hand_back" in wave:
            flows += [*(start(db, "quick") for _ in range(20)), start(db, "slow"), start(db, "slow")]
        if "reap.after_commit" in wave:
            flows += [start(db, "lone")]
            haunt(db)
        time.sleep(0.5)
    return flows


def haunt(db: Database) -> None:
    """Somebody claimed a task, and died."""
    ghost = enlisted(db, new_claim_id())
    claim(db, 1, ghost)
    kill_lease(db, ghost)


def all_finished(db: Database, seconds: float) -> None:
    def left() -> list[str]:
        return [row.task_flow_id for row in rows(db, flow_stat) if row.flow_status != 3]

    until(lambda: not left(), seconds, left)


def explain(witness: Witness, killed: set[int]) -> None:
    """Each run of a task was executed once by somebody who lived, or by nobody but the dead; by nobody twice."""
    for run, pids in witness.pids().items():
        assert len(set(pids)) == len(pids), run
        assert len([pid for pid in pids if pid not in killed]) <= 1, run
        assert len(pids) - 1 <= len(killed & set(pids)), run


def test_watchers_killed_at_rows_of_kr_command(db: Database, begin: Begin, acted: Acted) -> None:
    """Neither verb would do the same again as nothing: each row that was carried out twice would leave a flow."""
    define(db, "w", program="Witness")
    first = start(db)
    registering = {"verb": "register", "subject": "w", "arguments": '{"parameters": {"day": "1"}, "tags": ["sql"]}'}
    with db.transaction() as conn:
        for row in (registering, {"verb": "run_again", "subject": first}, registering):
            conn.execute(insert(command).values(row))
    answered = []
    for point, nth in ASKED.items():
        assert begin("watch", f"{point}=kill{nth}").ended() == KILLED
        answered.append([row.outcome for row in rows(db, command)])
    assert answered == [[None] * 3, ["done", None, None], ["done"] * 3], "the last one was killed behind its COMMIT"
    assert [point for point, _, action in acted() if action == "kill"] == list(ASKED)
    assert carry_out_asked(db, "another") == 0
    made = [jsontext.loads_object(row.answer)["task_flow_id"] for row in rows(db, command)]
    assert sorted([first, *made]) == sorted(row.task_flow_id for row in rows(db, flow_stat))
    assert len({row.handled_by for row in rows(db, command)}) == 2
    hold(db)


def test_registers_killed_at_each_point(db: Database, begin: Begin, acted: Acted) -> None:
    define(db, "w", 3, program="Witness")
    ports = {point: free_port() for point in CALLERS}
    victims = {point: begin("serve", spec_of(point), "--port", port) for point, port in ports.items()}
    urls = {point: victim.answering(ports[point]) for point, victim in victims.items()}
    with ThreadPoolExecutor(len(victims)) as pool:
        asked = {point: pool.submit(post, url, point) for point, url in urls.items()}
    assert all(isinstance(answer.exception(), requests.ConnectionError) for answer in asked.values())
    assert [victim.ended() for victim in victims.values()] == [KILLED] * len(victims)
    killed_at = [point for point, _, action in acted() if action == "kill"]
    assert sorted(killed_at) == sorted(CALLERS)
    hold(db)
    with db.read() as conn:
        made = {row.idempotency_key: row.task_flow_id for row in conn.execute(select(flow_stat))}
    assert made.keys() == LATER
    port = free_port()
    serving = begin("serve", "", "--port", port).answering(port)
    for point in CALLERS:
        flow_id = post(serving, point)
        assert made.setdefault(point, flow_id) == flow_id
    assert len(rows(db, flow_stat)) == len(CALLERS)
    hold(db)


def post(url: str, key: str) -> str:
    """Register with this key. Returns the id of the flow."""
    if key in BY_API:
        answer = requests.post(f"{url}/api/v1/workflows/w/register", json={"idempotency_key": key}, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["answer"]["task_flow_id"])
    answer = requests.post(f"{url}/register/w", headers={"Idempotency-Key": key}, timeout=30)
    answer.raise_for_status()
    return str(answer.json()["taskFlowId"])


def test_migrators_killed_at_each_point(kind: str, databases: Databases, begin: Begin, acted: Acted) -> None:
    specs = ["migrate.between_steps=kill", "migrate.between_steps=kill@#30", "migrate.before_revision=kill@#2"]
    urls = [databases.empty(kind) for _ in specs]
    victims = [begin("db upgrade", spec, db=url) for spec, url in zip(specs, urls, strict=True)]
    assert [victim.ended() for victim in victims] == [KILLED] * len(specs)
    assert len([action for _, _, action in acted() if action == "kill"]) == len(specs)
    for url in urls:
        assert begin("db upgrade", "", db=url).ended() == 0
        opened = open_database(url)
        assert migrate.differences(opened) == []
        opened.close()
