"""What must hold in the tables whatever happened: named queries that find the rows which break it. No rows is good.

`ALWAYS` holds whenever no transaction is under way and supervise has seen the last change made by hand; `AT_REST` holds
once nothing is left to run. The names are those of the reliability goals.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from engine.database import Database
from engine.graph.dependencies import DEFAULT_POLICY, Policy

EDGES = """(
    SELECT task_flow_id, task_exec_seq, depends_task_exec_seq FROM kr_task_stat WHERE depends_task_exec_seq > 0
    UNION SELECT task_flow_id, task_exec_seq, depends_task_exec_seq FROM kr_task_edge
     WHERE COALESCE(kind, 'normal') <> 'loop')"""
PARENTS = f"""
    LEFT JOIN {EDGES} d ON d.task_flow_id = t.task_flow_id AND d.task_exec_seq = t.task_exec_seq
    LEFT JOIN kr_task_edge e ON e.task_flow_id = d.task_flow_id AND e.task_exec_seq = d.task_exec_seq
         AND e.depends_task_exec_seq = d.depends_task_exec_seq AND COALESCE(e.kind, 'normal') <> 'loop'
    LEFT JOIN kr_task_stat p ON p.task_flow_id = d.task_flow_id AND p.task_exec_seq = d.depends_task_exec_seq"""
OPEN_PARENTS = """SUM(CASE WHEN d.depends_task_exec_seq IS NULL OR e.outcome IS NOT NULL THEN 0
    WHEN COALESCE(e.kind, 'normal') NOT IN ('normal', 'after') THEN 1
    WHEN e.only_if IS NOT NULL OR COALESCE(e.is_default, FALSE) THEN 1
    WHEN p.exec_status IN (3, :ignored) AND p.wait_count = -1 THEN 0 ELSE 1 END)"""
OPEN_WAITS = """(SELECT COUNT(*) FROM kr_wait w WHERE w.task_flow_id = t.task_flow_id
    AND w.task_exec_seq = t.task_exec_seq AND w.state = 'open' AND w.kind <> 'poke')"""

ALWAYS = {
    "I3 a flow has its tasks 1..n, and n is what the flow says": """
        SELECT f.task_flow_id FROM kr_flow_stat f LEFT JOIN kr_task_stat t ON t.task_flow_id = f.task_flow_id
         GROUP BY f.task_flow_id, f.task_count
        HAVING COUNT(t.task_exec_seq) <> f.task_count
            OR MIN(t.task_exec_seq) <> 1 OR MAX(t.task_exec_seq) <> f.task_count""",
    "I5 no task has more accepted tries than claims": """
        SELECT t.task_flow_id, t.task_exec_seq FROM kr_task_stat t JOIN kr_task_attempt a
            ON a.task_flow_id = t.task_flow_id AND a.task_exec_seq = t.task_exec_seq
         GROUP BY t.task_flow_id, t.task_exec_seq, t.claims
        HAVING SUM(CASE WHEN a.accepted THEN 1 ELSE 0 END) > t.claims OR MAX(a.claim_no) > t.claims""",
    "I6 an accepted try was not superseded when it settled": """
        SELECT a.task_flow_id, a.task_exec_seq, a.claim_id FROM kr_task_attempt a JOIN kr_task_attempt b
            ON b.task_flow_id = a.task_flow_id AND b.task_exec_seq = a.task_exec_seq AND b.claim_no > a.claim_no
         WHERE a.accepted AND b.claimed_ts < a.ended_ts""",
    "I6b the accepted finish of the last claim stands on a row that settled, or was set back by hand": """
        SELECT a.task_flow_id, a.task_exec_seq FROM kr_task_attempt a JOIN kr_task_stat t
            ON t.task_flow_id = a.task_flow_id AND t.task_exec_seq = a.task_exec_seq AND t.claim_id = a.claim_id
         WHERE a.accepted AND a.outcome = 'finished' AND t.exec_status = 1""",
    "I8 claim numbers never repeat": """
        SELECT task_flow_id, task_exec_seq, claim_no FROM kr_task_attempt WHERE claim_no > 0
         GROUP BY task_flow_id, task_exec_seq, claim_no HAVING COUNT(*) > 1""",
    "I8b later claims have later times": """
        SELECT a.task_flow_id, a.task_exec_seq FROM kr_task_attempt a JOIN kr_task_attempt b
            ON b.task_flow_id = a.task_flow_id AND b.task_exec_seq = a.task_exec_seq
         WHERE b.claim_no > a.claim_no AND b.claimed_ts < a.claimed_ts""",
    "I10 wait_count is what a recount gives": f"""
        SELECT t.task_flow_id, t.task_exec_seq, t.wait_count, {OPEN_PARENTS} AS recount FROM kr_task_stat t {PARENTS}
         WHERE t.exec_status IN (0, 2) AND t.wait_count >= 0
         GROUP BY t.task_flow_id, t.task_exec_seq, t.wait_count, t.due_ts
        HAVING t.wait_count <> {OPEN_PARENTS} + {OPEN_WAITS}
           AND NOT (t.due_ts IS NOT NULL AND t.wait_count = {OPEN_PARENTS} + {OPEN_WAITS} + 1)""",
    "W1 nothing is ready, runs or is settled while it awaits something": f"""
        SELECT t.task_flow_id, t.task_exec_seq, t.exec_status FROM kr_task_stat t
         WHERE (t.exec_status = 1 OR t.wait_count <= 0) AND {OPEN_WAITS} > 0""",
    "W2 what is open has no end, and what is not open has one": """
        SELECT wait_id, state, closed_ts FROM kr_wait
         WHERE (state = 'open' AND closed_ts IS NOT NULL) OR (state <> 'open' AND closed_ts IS NULL)""",
    "W3 what a message was given to is a wait that it closed, and no other did": """
        SELECT m.message_id, w.wait_id, w.state FROM kr_message m LEFT JOIN kr_wait w ON w.wait_id = m.wait_id
         WHERE m.wait_id IS NOT NULL AND (w.wait_id IS NULL OR w.state = 'open')""",
    "W4 one message answers one wait": """
        SELECT wait_id FROM kr_message WHERE wait_id IS NOT NULL GROUP BY wait_id HAVING COUNT(*) > 1""",
    "W5 a task has at most one time limit for its pokes, and none once it is settled": """
        SELECT t.task_flow_id, t.task_exec_seq, t.exec_status FROM kr_task_stat t JOIN kr_wait w
            ON w.task_flow_id = t.task_flow_id AND w.task_exec_seq = t.task_exec_seq
         WHERE w.kind = 'poke' AND w.state = 'open'
         GROUP BY t.task_flow_id, t.task_exec_seq, t.exec_status
        HAVING COUNT(*) > 1 OR t.exec_status IN (3, 9)""",
    "I11 counters and status of a flow are what a recount gives": """
        SELECT f.task_flow_id, f.flow_status, x.n, x.f, x.s, x.i FROM kr_flow_stat f JOIN (
            SELECT task_flow_id, COUNT(*) AS n,
                   SUM(CASE WHEN exec_status = 3 THEN 1 ELSE 0 END) AS f,
                   SUM(CASE WHEN exec_status = 2 THEN 1 ELSE 0 END) AS s,
                   SUM(CASE WHEN exec_status = 9 THEN 1 ELSE 0 END) AS i
              FROM kr_task_stat GROUP BY task_flow_id) x ON x.task_flow_id = f.task_flow_id
         WHERE f.task_count <> x.n OR f.finish_count <> x.f OR f.suspend_count <> x.s OR f.ignore_count <> x.i
            OR f.flow_status <> CASE WHEN x.f + x.i = x.n AND f.reason IS NULL THEN 3
                                     WHEN x.f + x.i = x.n THEN 9 WHEN x.s > 0 THEN 2
                                     WHEN f.flow_status IN (0, 1) THEN f.flow_status ELSE -1 END
            OR (f.flow_status IN (3, 9) AND f.finished_ts IS NULL)
            OR (f.flow_status NOT IN (3, 9) AND f.finished_ts IS NOT NULL)""",
    "I11b every task belongs to a flow": """
        SELECT t.task_flow_id, t.task_exec_seq FROM kr_task_stat t
          LEFT JOIN kr_flow_stat f ON f.task_flow_id = t.task_flow_id WHERE f.task_flow_id IS NULL""",
    "I12 time moves forward": """
        SELECT task_flow_id, task_exec_seq FROM kr_task_stat
         WHERE (exec_status IN (1, 3) AND started_ts < registered_ts) OR (exec_status = 3 AND finished_ts < started_ts)
            OR suspended_ts < registered_ts OR (exec_status = 3 AND finished_ts IS NULL)""",
    "I13 a running task has an owner and a claim": """
        SELECT task_flow_id, task_exec_seq FROM kr_task_stat
         WHERE exec_status = 1 AND (claim_id IS NULL OR owner IS NULL OR started_ts IS NULL OR claims < 1)""",
    "I17 a suspended task says why and since when": """
        SELECT task_flow_id, task_exec_seq FROM kr_task_stat
         WHERE exec_status = 2 AND (reason IS NULL OR reason = '' OR suspended_ts IS NULL)""",
    "J1 no pair outside the table of states": """
        SELECT task_flow_id, task_exec_seq, exec_status, wait_count FROM kr_task_stat
         WHERE NOT (exec_status = 0 AND (wait_count IS NULL OR wait_count >= 0)
                 OR exec_status = 1 AND wait_count IS NOT NULL AND wait_count = 0
                 OR exec_status = 2 AND (wait_count IS NULL OR wait_count >= 0)
                 OR exec_status IN (3, 9) AND (wait_count IS NULL OR wait_count >= -1))""",
    "J3 nothing is ready or runs before its parents": f"""
        SELECT t.task_flow_id, t.task_exec_seq, d.depends_task_exec_seq FROM kr_task_stat t {PARENTS}
         WHERE (t.exec_status = 1 OR (t.exec_status = 0 AND t.wait_count = 0)) AND d.depends_task_exec_seq IS NOT NULL
           AND e.outcome IS NULL AND (p.exec_status IS NULL OR p.exec_status NOT IN (3, :ignored))""",
}
AT_REST = {
    "I4 nothing is stuck: a task waits only for its time, or in a flow that a person must look at": """
        SELECT t.task_flow_id, t.task_exec_seq, t.exec_status FROM kr_task_stat t
         WHERE t.exec_status = 1 OR (t.exec_status = 0 AND t.due_ts IS NULL AND NOT EXISTS (
               SELECT 1 FROM kr_task_stat b WHERE b.task_flow_id = t.task_flow_id
                  AND (b.exec_status = 2 OR b.due_ts IS NOT NULL OR b.exec_status NOT IN (0, 1, 3, :ignored)))
               AND NOT EXISTS (
               SELECT 1 FROM kr_wait w WHERE w.task_flow_id = t.task_flow_id AND w.state = 'open'))""",
    "J2 every settled row has been passed on, and every row made by hand adopted": """
        SELECT task_flow_id, task_exec_seq FROM kr_task_stat
         WHERE (exec_status IN (3, 9) AND (wait_count IS NULL OR wait_count <> -1))
            OR (exec_status = 0 AND (wait_count IS NULL OR wait_count < 0))""",
}


def broken(db: Database, *, at_rest: bool = False, policy: Policy = DEFAULT_POLICY) -> dict[str, list[tuple[Any, ...]]]:
    """The invariants that do not hold, each with the rows that break it."""
    ignored = 9 if policy.ignore_satisfies else 3
    found: dict[str, list[tuple[Any, ...]]] = {}
    with db.read() as conn:
        for name, query in (ALWAYS | (AT_REST if at_rest else {})).items():
            values = {"ignored": ignored} if ":ignored" in query else {}
            if rows := conn.execute(text(query), values).all():
                found[name] = [tuple(row) for row in rows]
    return found


def hold(db: Database, *, at_rest: bool = False, policy: Policy = DEFAULT_POLICY) -> None:
    """Assert that every invariant holds."""
    found = broken(db, at_rest=at_rest, policy=policy)
    assert not found, f"broken: {found}"
