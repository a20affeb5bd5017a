"""Parts that several queries share: the edges into a task t from its predecessors p, and which of them hold it up.

An edge stands in the row of the task (`depends_task_exec_seq`), in kr_task_edge (e), or in both, and then e says more.
The two are asked apart and by their keys: MariaDB gives a union in FROM no index for ids as long as these.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = """LEFT JOIN kr_task_stat p
    ON p.task_flow_id = t.task_flow_id AND p.task_exec_seq = t.depends_task_exec_seq"""
"""The predecessor that the row names."""
IS_FIRST: Final = """t.depends_task_exec_seq > 0 AND NOT EXISTS (SELECT 1 FROM kr_task_edge o
    WHERE o.task_flow_id = t.task_flow_id AND o.task_exec_seq = t.task_exec_seq
      AND o.depends_task_exec_seq = t.depends_task_exec_seq AND COALESCE(o.kind, 'normal') <> 'loop')"""
"""There is one, and kr_task_edge has nothing to say of it."""
STORED: Final = """LEFT JOIN kr_task_stat p
    ON p.task_flow_id = e.task_flow_id AND p.task_exec_seq = e.depends_task_exec_seq"""
IS_FORWARD: Final = "COALESCE(e.kind, 'normal') <> 'loop'"

_SATISFIES: Final = """p.exec_status IN (3, :ignored) OR (p.exec_status = 9 AND p.reason IN
    ('superseded', 'skipped', 'rolled back', 'failed, and handled', 'timed out, and handled'))"""
SATISFIED_FIRST: Final = f"({_SATISFIES})"
SATISFIED_STORED: Final = f"({_SATISFIES} OR (p.exec_status = 9 AND e.kind = 'after'))"
"""The predecessor is settled in a way that lets go what waits for it."""

_OPEN_FIRST: Final = f"""(SELECT COUNT(*) FROM kr_task_stat s {FIRST.replace("t.", "s.")}
    WHERE s.task_flow_id = t.task_flow_id AND s.task_exec_seq = t.task_exec_seq AND {IS_FIRST.replace("t.", "s.")}
      AND CASE WHEN p.exec_status = 9 AND p.reason = 'superseded' THEN 0
               WHEN {SATISFIED_FIRST} AND p.wait_count = -1 THEN 0 ELSE 1 END = 1)"""
_OPEN_STORED: Final = f"""(SELECT COUNT(*) FROM kr_task_edge e {STORED}
    WHERE e.task_flow_id = t.task_flow_id AND e.task_exec_seq = t.task_exec_seq AND {IS_FORWARD} AND e.outcome IS NULL
      AND CASE WHEN p.exec_status = 9 AND p.reason = 'superseded' THEN 0
               WHEN COALESCE(e.kind, 'normal') NOT IN ('normal', 'after') THEN 1
               WHEN COALESCE(e.kind, 'normal') <> 'after'
                    AND (e.only_if IS NOT NULL OR COALESCE(e.is_default, FALSE)) THEN 1
               WHEN {SATISFIED_STORED} AND p.wait_count = -1 THEN 0 ELSE 1 END = 1)"""
OPEN_PARENTS: Final = f"({_OPEN_FIRST} + {_OPEN_STORED})"
"""How many predecessors a task t waits for."""

OPEN_WAITS: Final = """(SELECT COUNT(*) FROM kr_wait w WHERE w.task_flow_id = t.task_flow_id
    AND w.task_exec_seq = t.task_exec_seq AND w.state = :open AND w.kind <> 'poke')"""
"""The state is a parameter: with a literal an index of all open waits would be read from end to end."""
