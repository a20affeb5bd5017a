"""What must hold of task instances: their states, what holds them up, and that none is forgotten."""

from __future__ import annotations

from typing import Final

from engine.fsck.fragments import (
    FIRST,
    IS_FIRST,
    IS_FORWARD,
    OPEN_PARENTS,
    OPEN_WAITS,
    SATISFIED_FIRST,
    SATISFIED_STORED,
    STORED,
)
from engine.fsck.invariant import WARNING, Invariant

_GOES: Final = "(t.exec_status = 1 OR (t.exec_status = 0 AND t.wait_count = 0))"

TASKS: Final = (
    Invariant(
        "I4",
        "nothing is stuck: a task waits only for its time, or in a flow that a person must look at",
        """SELECT t.task_flow_id, t.task_exec_seq, t.exec_status, t.wait_count FROM kr_task_stat t
            WHERE {t} AND (t.exec_status = 1 OR (t.exec_status = 0 AND t.due_ts IS NULL AND NOT EXISTS (
                  SELECT 1 FROM kr_task_stat b WHERE b.task_flow_id = t.task_flow_id
                     AND (b.exec_status = 2 OR b.due_ts IS NOT NULL OR b.exec_status NOT IN (0, 1, 3, :ignored)))
                  AND NOT EXISTS (
                  SELECT 1 FROM kr_wait w WHERE w.task_flow_id = t.task_flow_id AND w.state = :open)))""",
        "--repair counts anew what it waits for; is any watcher serving its queue?",
        repair="recount_tasks",
        at_rest=True,
    ),
    Invariant(
        "I10",
        "wait_count is what a recount of open predecessors, waits and due times gives",
        f"""SELECT t.task_flow_id, t.task_exec_seq, t.wait_count, {OPEN_PARENTS} AS open_before,
                   {OPEN_WAITS} AS open_waits FROM kr_task_stat t
             WHERE t.exec_status IN (0, 2) AND t.wait_count >= 0 AND {{t}}
               AND t.wait_count <> {OPEN_PARENTS} + {OPEN_WAITS}
               AND NOT (t.due_ts IS NOT NULL AND t.wait_count = {OPEN_PARENTS} + {OPEN_WAITS} + 1)""",
        "--repair counts anew, and lets the task go if nothing holds it up",
        repair="recount_tasks",
    ),
    Invariant(
        "I12",
        "time moves forward",
        """SELECT t.task_flow_id, t.task_exec_seq, t.registered_ts, t.started_ts, t.finished_ts, t.suspended_ts
             FROM kr_task_stat t WHERE {t} AND ((t.exec_status IN (1, 3) AND t.started_ts < t.registered_ts)
               OR (t.exec_status = 3 AND t.finished_ts < t.started_ts) OR t.suspended_ts < t.registered_ts
               OR (t.exec_status = 3 AND t.finished_ts IS NULL AND t.wait_count = -1))""",
        "was the clock of the database set back? correct the time column that is wrong",
        severity=WARNING,
    ),
    Invariant(
        "I13",
        "a running task has an owner and a claim",
        """SELECT t.task_flow_id, t.task_exec_seq, t.owner, t.claim_id, t.claims FROM kr_task_stat t
            WHERE t.exec_status = 1 AND {t}
              AND (t.claim_id IS NULL OR t.owner IS NULL OR t.started_ts IS NULL OR t.claims < 1)""",
        "--repair gives it back, as a watcher does once a lease has passed since it started",
        repair="release",
    ),
    Invariant(
        "I14",
        "a running task has an owner that lives, or is taken back within a minute of its death",
        """SELECT t.task_flow_id, t.task_exec_seq, t.owner, t.started_ts, w.lease_until_ts FROM kr_task_stat t
             LEFT JOIN kr_watcher w ON w.watcher_id = t.owner
            WHERE t.exec_status = 1 AND {t} AND (w.watcher_id IS NULL OR w.lease_until_ts < :before)
              AND (t.started_ts IS NULL OR t.started_ts < :before)""",
        "is any watcher running? each takes back what others have lost; --repair does the same",
        repair="release",
    ),
    Invariant(
        "I15",
        "no more tries are charged than were made, and each charged failure has its try",
        """SELECT t.task_flow_id, t.task_exec_seq, t.attempt, t.claims FROM kr_task_stat t
             LEFT JOIN kr_task_attempt a ON a.task_flow_id = t.task_flow_id AND a.task_exec_seq = t.task_exec_seq
                  AND a.generation = t.generation
            WHERE {t} GROUP BY t.task_flow_id, t.task_exec_seq, t.attempt, t.claims, t.exec_status
           HAVING t.attempt < 0 OR t.attempt > t.claims
               OR t.attempt > COALESCE(SUM(CASE WHEN a.outcome = 'failed' OR (a.accepted AND a.outcome = 'finished')
                                                THEN 1 ELSE 0 END), 0)
                            + 1 - COALESCE(MAX(CASE WHEN a.accepted AND a.outcome = 'finished'
                                                    THEN 1 ELSE 0 END), 0)""",
        "set attempt to the tries that kr_task_attempt has",
        severity=WARNING,
    ),
    Invariant(
        "I17",
        "a suspended task says why and since when",
        """SELECT t.task_flow_id, t.task_exec_seq, t.reason, t.suspended_ts FROM kr_task_stat t
            WHERE t.exec_status = 2 AND {t} AND (t.reason IS NULL OR t.reason = '' OR t.suspended_ts IS NULL)""",
        "--repair says that a person paused it, as a watcher does",
        repair="explain",
    ),
    Invariant(
        "J1",
        "no pair of exec_status and wait_count outside the table of states",
        """SELECT t.task_flow_id, t.task_exec_seq, t.exec_status, t.wait_count FROM kr_task_stat t
            WHERE {t} AND NOT (t.exec_status = 0 AND (t.wait_count IS NULL OR t.wait_count >= 0)
                 OR t.exec_status = 1 AND t.wait_count IS NOT NULL AND t.wait_count = 0
                 OR t.exec_status = 2 AND (t.wait_count IS NULL OR t.wait_count >= 0)
                 OR t.exec_status IN (3, 9) AND (t.wait_count IS NULL OR t.wait_count >= -1))""",
        "--repair counts anew what hangs on it",
        repair="mend_pairs",
    ),
    Invariant(
        "J2",
        "every settled row has been passed on, and every row made by hand adopted",
        """SELECT t.task_flow_id, t.task_exec_seq, t.exec_status, t.wait_count FROM kr_task_stat t
            WHERE {t} AND ((t.exec_status IN (3, 9) AND (t.wait_count IS NULL OR t.wait_count <> -1))
               OR (t.exec_status = 0 AND (t.wait_count IS NULL OR t.wait_count < 0)))""",
        "--repair does what a watcher does",
        repair="obey",
        at_rest=True,
    ),
    Invariant(
        "J3",
        "nothing is ready or runs before its predecessors",
        f"""SELECT t.task_flow_id, t.task_exec_seq, t.exec_status, t.depends_task_exec_seq AS predecessor,
                   p.exec_status AS its_status FROM kr_task_stat t {FIRST}
             WHERE {_GOES} AND {{t}} AND {IS_FIRST} AND CASE WHEN {SATISFIED_FIRST} THEN 0 ELSE 1 END = 1
            UNION ALL SELECT t.task_flow_id, t.task_exec_seq, t.exec_status, e.depends_task_exec_seq, p.exec_status
              FROM kr_task_edge e JOIN kr_task_stat t
                   ON t.task_flow_id = e.task_flow_id AND t.task_exec_seq = e.task_exec_seq {STORED}
             WHERE {_GOES} AND {{e}} AND {IS_FORWARD} AND e.outcome IS NULL
               AND CASE WHEN {SATISFIED_STORED} THEN 0 ELSE 1 END = 1""",
        "--repair counts a ready task anew, so that it waits; one that runs already is for a person to judge",
        repair="recount_tasks",
    ),
)
