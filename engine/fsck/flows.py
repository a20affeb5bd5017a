"""What must hold of flows: whole copies, counters and statuses that a recount gives, one flow for each key."""

from __future__ import annotations

from typing import Final

from engine.fsck.invariant import WARNING, Invariant

FLOWS: Final = (
    Invariant(
        "I3",
        "a registered flow has its tasks 1..n, and n is what the flow says",
        """SELECT f.task_flow_id, 0, f.task_count, COUNT(t.task_exec_seq) AS there, MAX(t.task_exec_seq) AS last
             FROM kr_flow_stat f LEFT JOIN kr_task_stat t ON t.task_flow_id = f.task_flow_id
            WHERE f.version_id IS NOT NULL AND {f} GROUP BY f.task_flow_id, f.task_count
           HAVING COUNT(t.task_exec_seq) <> f.task_count
               OR MIN(t.task_exec_seq) <> 1 OR MAX(t.task_exec_seq) <> f.task_count""",
        "rows of the flow have gone: put them back from a backup, or cancel the flow and register it anew",
    ),
    Invariant(
        "I11",
        "counters and status of a flow are what a recount of its tasks gives",
        """SELECT f.task_flow_id, 0, f.flow_status, f.task_count, f.finish_count, f.suspend_count, f.ignore_count,
                  COUNT(*) AS tasks, SUM(CASE WHEN t.exec_status = 3 THEN 1 ELSE 0 END) AS finished,
                  SUM(CASE WHEN t.exec_status = 2 THEN 1 ELSE 0 END) AS suspended,
                  SUM(CASE WHEN t.exec_status = 9 THEN 1 ELSE 0 END) AS ignored
             FROM kr_flow_stat f JOIN kr_task_stat t ON t.task_flow_id = f.task_flow_id WHERE {f}
            GROUP BY f.task_flow_id, f.flow_status, f.task_count, f.finish_count, f.suspend_count, f.ignore_count,
                     f.reason, f.finished_ts
           HAVING f.task_count <> COUNT(*)
               OR f.finish_count <> SUM(CASE WHEN t.exec_status = 3 THEN 1 ELSE 0 END)
               OR f.suspend_count <> SUM(CASE WHEN t.exec_status = 2 THEN 1 ELSE 0 END)
               OR f.ignore_count <> SUM(CASE WHEN t.exec_status = 9 THEN 1 ELSE 0 END)
               OR f.flow_status <> CASE
                    WHEN SUM(CASE WHEN t.exec_status IN (3, 9) THEN 0 ELSE 1 END) = 0 AND f.reason IS NULL THEN 3
                    WHEN SUM(CASE WHEN t.exec_status IN (3, 9) THEN 0 ELSE 1 END) = 0 THEN 9
                    WHEN SUM(CASE WHEN t.exec_status = 2 THEN 1 ELSE 0 END) > 0 THEN 2
                    WHEN f.flow_status IN (0, 1) THEN f.flow_status ELSE -1 END
               OR (f.flow_status IN (3, 9) AND f.finished_ts IS NULL)
               OR (f.flow_status NOT IN (3, 9) AND f.finished_ts IS NOT NULL)""",
        "--repair counts the flow anew, unless tasks of it have gone (I3)",
        repair="recount_flows",
    ),
    Invariant(
        "I11b",
        "every task belongs to a flow",
        """SELECT t.task_flow_id, t.task_exec_seq FROM kr_task_stat t
             LEFT JOIN kr_flow_stat f ON f.task_flow_id = t.task_flow_id WHERE f.task_flow_id IS NULL AND {t}""",
        "--repair makes the row of the flow, as a watcher does for rows inserted by hand",
        repair="recount_flows",
    ),
    Invariant(
        "I16",
        "an idempotency key has one flow, which says what was asked for",
        """SELECT f.task_flow_id, 0, f.idempotency_key, g.task_flow_id AS other FROM kr_flow_stat f
             LEFT JOIN kr_flow_stat g ON g.task_id = f.task_id AND g.idempotency_key = f.idempotency_key
                  AND g.task_flow_id <> f.task_flow_id
            WHERE f.idempotency_key IS NOT NULL AND {f} AND (g.task_flow_id IS NOT NULL OR f.request_hash IS NULL)""",
        "cancel the flow that nobody was told of; a key without request_hash refuses whoever asks again: take it off",
    ),
    Invariant(
        "F1",
        "a flow that has ended is closed: its result is kept, its parent told",
        """SELECT f.task_flow_id, 0, f.flow_status, f.reason FROM kr_flow_stat f
            WHERE f.flow_status IN (3, 9) AND f.closing = 1 AND {f}""",
        "--repair closes it, as a watcher does",
        repair="close_flows",
        at_rest=True,
    ),
    Invariant(
        "F2",
        "nothing is left of a flow that is gone",
        """SELECT a.task_flow_id, a.task_exec_seq, 'kr_task_attempt' AS left_in FROM kr_task_attempt a
             LEFT JOIN kr_task_stat t ON t.task_flow_id = a.task_flow_id AND t.task_exec_seq = a.task_exec_seq
            WHERE t.task_flow_id IS NULL AND {a}
           UNION SELECT e.task_flow_id, e.task_exec_seq, 'kr_task_edge' FROM kr_task_edge e
             LEFT JOIN kr_task_stat t ON t.task_flow_id = e.task_flow_id AND t.task_exec_seq = e.task_exec_seq
            WHERE t.task_flow_id IS NULL AND {e}
           UNION SELECT w.task_flow_id, w.task_exec_seq, 'kr_wait' FROM kr_wait w
             LEFT JOIN kr_task_stat t ON t.task_flow_id = w.task_flow_id AND t.task_exec_seq = w.task_exec_seq
            WHERE t.task_flow_id IS NULL AND w.state = :open AND {w}""",
        "delete the rows named, or put back the tasks that they belong to",
        severity=WARNING,
        at_rest=True,
    ),
)
