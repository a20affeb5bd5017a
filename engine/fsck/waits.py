"""What must hold of waits and messages: closed once, by one thing each, and never of a task that goes on."""

from __future__ import annotations

from typing import Final

from engine.fsck.fragments import OPEN_WAITS
from engine.fsck.invariant import WARNING, Invariant

WAITS: Final = (
    Invariant(
        "W1",
        "nothing is ready, runs or is settled while it awaits something",
        f"""SELECT t.task_flow_id, t.task_exec_seq, t.exec_status, t.wait_count FROM kr_task_stat t
             WHERE (t.exec_status = 1 OR t.wait_count <= 0) AND {OPEN_WAITS} > 0 AND {{t}}""",
        "--repair closes what a settled task awaits, and lets a ready one wait; wait for the end of one that runs",
        repair="mend_waits",
    ),
    Invariant(
        "W2",
        "an open wait has no end, and any other has one",
        """SELECT w.task_flow_id, w.task_exec_seq, w.wait_id, w.state, w.closed_ts FROM kr_wait w
            WHERE {w} AND ((w.state = :open AND w.closed_ts IS NOT NULL)
                        OR (w.state <> :open AND w.closed_ts IS NULL))""",
        "--repair sets closed_ts to what state says",
        repair="mend_waits",
        severity=WARNING,
    ),
    Invariant(
        "W3",
        "a wait that a message was given to is closed",
        """SELECT w.task_flow_id, w.task_exec_seq, w.wait_id, m.message_id FROM kr_wait w
             JOIN kr_message m ON m.wait_id = w.wait_id WHERE w.state = :open AND {w}""",
        "--repair takes the message back, to be given once more",
        repair="give_anew",
    ),
    Invariant(
        "W4",
        "one message answers one wait",
        """SELECT w.task_flow_id, w.task_exec_seq, w.wait_id, COUNT(*) AS messages FROM kr_wait w
             JOIN kr_message m ON m.wait_id = w.wait_id WHERE {w}
            GROUP BY w.task_flow_id, w.task_exec_seq, w.wait_id HAVING COUNT(*) > 1""",
        "set wait_id to NULL in the message that the payload of the wait is not from, and it is given to another",
    ),
    Invariant(
        "W5",
        "a task has at most one time limit for its pokes, and none once it is settled",
        """SELECT t.task_flow_id, t.task_exec_seq, t.exec_status, COUNT(*) AS limits FROM kr_task_stat t JOIN kr_wait w
               ON w.task_flow_id = t.task_flow_id AND w.task_exec_seq = t.task_exec_seq
            WHERE w.kind = 'poke' AND w.state = :open AND {t}
            GROUP BY t.task_flow_id, t.task_exec_seq, t.exec_status
           HAVING COUNT(*) > 1 OR t.exec_status IN (3, 9)""",
        "--repair closes the limits of a settled task; of two, close the later one by hand (state 'cancelled')",
        repair="mend_waits",
        severity=WARNING,
    ),
    Invariant(
        "W6",
        "a task that awaits a sub-flow awaits one that exists",
        """SELECT w.task_flow_id, w.task_exec_seq, w.wait_id, w.correlation_key AS sub_flow FROM kr_wait w
             LEFT JOIN kr_flow_stat f ON f.task_flow_id = w.correlation_key
            WHERE w.kind = 'flow' AND w.state = :open AND w.correlation_key IS NOT NULL
              AND f.task_flow_id IS NULL AND {w}""",
        "the sub-flow was deleted: answer for it, by a payload and a past due_ts in kr_wait, or re-run the task",
    ),
)
