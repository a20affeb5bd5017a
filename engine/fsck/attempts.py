"""What must hold of tries and claims: one lease, one accepted outcome, and none before its predecessors.

`kr_task_attempt` has every try only with `--keep-attempts`; without, these judge the tries that are there, and the last
claim of each task, whose times stay on its row.
"""

from __future__ import annotations

from typing import Final

from engine.fsck.fragments import FIRST, IS_FIRST, IS_FORWARD, SATISFIED_FIRST, SATISFIED_STORED, STORED
from engine.fsck.invariant import WARNING, Invariant

_LATER: Final = """JOIN kr_task_attempt b
    ON b.task_flow_id = a.task_flow_id AND b.task_exec_seq = a.task_exec_seq AND b.claim_no > a.claim_no"""
_END: Final = "CASE WHEN a.outcome IN ('lost', 'stale') THEN a.lease_until_ts ELSE a.ended_ts END"
"""Until when a try held its task. A try that a person ended has no such time: he let the next one begin."""
_CLAIMS: Final = {
    "t.started_ts": ("kr_task_stat t", "t.claims > 0 AND {t}"),
    "a.claimed_ts": (
        """kr_task_attempt a JOIN kr_task_stat t ON t.task_flow_id = a.task_flow_id
               AND t.task_exec_seq = a.task_exec_seq AND t.generation = a.generation""",
        "a.claim_no > 0 AND {a}",
    ),
}
"""When a task was claimed: the last time, as its row says, and before, as far as its tries are kept."""
_EDGES: Final = {
    "t.depends_task_exec_seq": (FIRST, IS_FIRST, SATISFIED_FIRST),
    "e.depends_task_exec_seq": (
        f"""JOIN kr_task_edge e ON e.task_flow_id = t.task_flow_id AND e.task_exec_seq = t.task_exec_seq {STORED}""",
        f"{IS_FORWARD} AND (e.outcome IS NULL OR e.outcome = 'taken')",
        f"({SATISFIED_STORED} OR (p.exec_status = 9 AND e.outcome = 'taken'))",
    ),
}


def _too_early(claimed: str, predecessor: str) -> str:
    """Claims at a time of this column, with a predecessor that settled later, or has not settled. What a person has
    done to the flow since may have opened again what was settled then."""
    source, counts = _CLAIMS[claimed]
    joined, is_edge, satisfied = _EDGES[predecessor]
    return f"""
            SELECT t.task_flow_id, t.task_exec_seq, {predecessor} AS predecessor, {claimed} AS claimed_ts,
                   p.exec_status AS its_status, p.finished_ts AS it_finished FROM {source} {joined}
             WHERE {counts} AND {claimed} IS NOT NULL AND {is_edge}
               AND (CASE WHEN {satisfied} THEN 0 ELSE 1 END = 1 OR (p.exec_status = 3 AND p.finished_ts > {claimed}))
               AND NOT EXISTS (SELECT 1 FROM kr_event v WHERE v.task_flow_id = t.task_flow_id
                   AND v.event_ts >= {claimed} AND (v.actor <> 'watcher' OR v.what = 'task adopted'))"""


ATTEMPTS: Final = (
    Invariant(
        "I5",
        "no more than one try finished a task, in each of its generations",
        """SELECT a.task_flow_id, a.task_exec_seq, a.generation, COUNT(*) AS finishes FROM kr_task_attempt a
            WHERE a.accepted AND a.outcome = 'finished' AND {a}
            GROUP BY a.task_flow_id, a.task_exec_seq, a.generation
           HAVING COUNT(*) > 1 + (SELECT COUNT(*) FROM kr_event v WHERE v.task_flow_id = a.task_flow_id
                                     AND v.task_exec_seq = a.task_exec_seq AND v.what = 'task adopted')""",
        "two outcomes were accepted: look at what both did outside the database, and report it",
    ),
    Invariant(
        "I5b",
        "no task has more accepted tries, or later ones, than claims",
        """SELECT t.task_flow_id, t.task_exec_seq, t.claims, MAX(a.claim_no) AS last_try FROM kr_task_stat t
             JOIN kr_task_attempt a ON a.task_flow_id = t.task_flow_id AND a.task_exec_seq = t.task_exec_seq
            WHERE {t} GROUP BY t.task_flow_id, t.task_exec_seq, t.claims
           HAVING SUM(CASE WHEN a.accepted THEN 1 ELSE 0 END) > t.claims OR MAX(a.claim_no) > t.claims""",
        "was the row replaced by an older copy? raise its claims to the highest claim_no of its tries",
    ),
    Invariant(
        "I6",
        "an accepted try was not superseded when it settled",
        f"""SELECT a.task_flow_id, a.task_exec_seq, a.claim_id, b.claim_id AS later_claim
              FROM kr_task_attempt a {_LATER} WHERE a.accepted AND b.claimed_ts < a.ended_ts AND {{a}}""",
        "an outcome was accepted that came too late: look at what both tries did, and report it",
    ),
    Invariant(
        "I6b",
        "a task whose last claim has finished does not run",
        """SELECT a.task_flow_id, a.task_exec_seq, a.claim_id FROM kr_task_attempt a JOIN kr_task_stat t
               ON t.task_flow_id = a.task_flow_id AND t.task_exec_seq = a.task_exec_seq AND t.claim_id = a.claim_id
            WHERE a.accepted AND a.outcome = 'finished' AND t.exec_status = 1 AND {a}""",
        "set the task to 3; or to 0 if it is to run again",
    ),
    Invariant(
        "I7",
        "no two valid leases of one task at once",
        f"""SELECT a.task_flow_id, a.task_exec_seq, a.claim_id, b.claim_id AS later_claim
              FROM kr_task_attempt a {_LATER} WHERE b.claimed_ts < {_END} AND a.claim_no > 0 AND {{a}}
            UNION SELECT a.task_flow_id, a.task_exec_seq, a.claim_id, t.claim_id FROM kr_task_attempt a
              JOIN kr_task_stat t ON t.task_flow_id = a.task_flow_id AND t.task_exec_seq = a.task_exec_seq
                   AND t.claims > a.claim_no AND t.claim_id <> a.claim_id
             WHERE t.exec_status = 1 AND a.claim_no > 0 AND t.started_ts < {_END} AND {{a}}""",
        "two watchers held the task: look at what both tries did, and report it",
    ),
    Invariant(
        "I8",
        "claim numbers never repeat",
        """SELECT a.task_flow_id, a.task_exec_seq, a.claim_no FROM kr_task_attempt a WHERE a.claim_no > 0 AND {a}
            GROUP BY a.task_flow_id, a.task_exec_seq, a.claim_no HAVING COUNT(*) > 1""",
        "was the row replaced by an older copy? raise its claims past the highest claim_no of its tries",
    ),
    Invariant(
        "I8b",
        "later claims have later times",
        f"""SELECT a.task_flow_id, a.task_exec_seq, a.claim_no, b.claim_no AS later_no
              FROM kr_task_attempt a {_LATER} WHERE b.claimed_ts < a.claimed_ts AND {{a}}""",
        "was the clock of the database set back?",
    ),
    Invariant(
        "I9",
        "no task was claimed before every predecessor was settled",
        " UNION ".join(_too_early(claimed, predecessor) for claimed in _CLAIMS for predecessor in _EDGES),
        "the order was not kept: look at what the task did without its predecessor's result, and report it",
    ),
    Invariant(
        "I12b",
        "a try ends after it began",
        """SELECT a.task_flow_id, a.task_exec_seq, a.claimed_ts, a.ended_ts FROM kr_task_attempt a
            WHERE a.ended_ts < a.claimed_ts AND {a}""",
        "was the clock of the database set back?",
    ),
    Invariant(
        "L1",
        "parts of a log belong to a try that runs, or are taken away within a minute of its end",
        """SELECT l.task_flow_id, l.task_exec_seq, l.claim_id, COUNT(*) AS parts FROM kr_task_log l
             LEFT JOIN kr_task_stat t ON t.task_flow_id = l.task_flow_id AND t.task_exec_seq = l.task_exec_seq
                   AND t.claim_id = l.claim_id AND t.exec_status = 1
            WHERE t.task_flow_id IS NULL AND l.written_ts < :before AND {l}
            GROUP BY l.task_flow_id, l.task_exec_seq, l.claim_id""",
        "is any watcher running? each takes away what others have left; --repair does the same",
        repair="take_logs",
        severity=WARNING,
    ),
)
