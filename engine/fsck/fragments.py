"""Parts that several queries share: the edges into a task, and which of them still hold it up."""

from __future__ import annotations

from typing import Final

EDGES: Final = """(
    SELECT x.task_flow_id, x.task_exec_seq, x.depends_task_exec_seq FROM kr_task_stat x
     WHERE x.depends_task_exec_seq > 0 AND {x}
    UNION SELECT y.task_flow_id, y.task_exec_seq, y.depends_task_exec_seq FROM kr_task_edge y
     WHERE COALESCE(y.kind, 'normal') <> 'loop' AND {y})"""
"""Every edge that something waits for. Flows are narrowed in here too: MariaDB makes such a table whole first."""

PARENTS: Final = f"""
    LEFT JOIN {EDGES} d ON d.task_flow_id = t.task_flow_id AND d.task_exec_seq = t.task_exec_seq
    LEFT JOIN kr_task_edge e ON e.task_flow_id = d.task_flow_id AND e.task_exec_seq = d.task_exec_seq
         AND e.depends_task_exec_seq = d.depends_task_exec_seq AND COALESCE(e.kind, 'normal') <> 'loop'
    LEFT JOIN kr_task_stat p ON p.task_flow_id = d.task_flow_id AND p.task_exec_seq = d.depends_task_exec_seq"""
"""The predecessors p of a task t, with what is stored of the edge, e."""

SATISFIED: Final = """(p.exec_status IN (3, :ignored) OR (p.exec_status = 9 AND (e.kind = 'after' OR p.reason IN
    ('superseded', 'skipped', 'rolled back', 'failed, and handled', 'timed out, and handled'))))"""
"""The predecessor is settled in a way that lets go what waits for it."""

OPEN_PARENTS: Final = f"""SUM(CASE WHEN d.depends_task_exec_seq IS NULL OR e.outcome IS NOT NULL THEN 0
    WHEN p.exec_status = 9 AND p.reason = 'superseded' THEN 0
    WHEN COALESCE(e.kind, 'normal') NOT IN ('normal', 'after') THEN 1
    WHEN COALESCE(e.kind, 'normal') <> 'after' AND (e.only_if IS NOT NULL OR COALESCE(e.is_default, FALSE)) THEN 1
    WHEN {SATISFIED} AND p.wait_count = -1 THEN 0 ELSE 1 END)"""

OPEN_WAITS: Final = """(SELECT COUNT(*) FROM kr_wait w WHERE w.task_flow_id = t.task_flow_id
    AND w.task_exec_seq = t.task_exec_seq AND w.state = :open AND w.kind <> 'poke')"""
"""The state is a parameter: with a literal an index of all open waits would be read from end to end."""

TOUCHED: Final = """EXISTS (SELECT 1 FROM kr_event v WHERE v.task_flow_id = c.task_flow_id
    AND v.event_ts >= c.claimed_ts AND (v.actor <> 'watcher' OR v.what = 'task adopted'))"""
"""A person has done something to the flow since the claim c: what was settled then may be open again."""
