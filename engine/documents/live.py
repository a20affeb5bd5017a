"""The flows of a workflow that are under way, by the version that each was made from: what a change would not reach.

Read from the index of flows in play; however many there are, no more than a certain number is looked at.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, func, select

from engine.tables import IS_ACTIVE, flow_stat

MOST: Final = 10_000
"""Flows that are counted."""
SHOWN: Final = 20
"""Flows that are named."""


def live_flows(conn: Connection, task_id: str) -> dict[str, Any]:
    """Shape: `versions` [{version_id, flows}], most flows first; `flows`, the ids of the first 20 by time; `count`;
    `is_more`: there are more than were counted."""
    mine = flow_stat.c.task_id == task_id, IS_ACTIVE
    some = select(flow_stat.c.version_id).where(*mine).limit(MOST + 1).subquery()
    flows = func.count().label("flows")
    counted = conn.execute(
        select(some.c.version_id, flows).group_by(some.c.version_id).order_by(flows.desc(), some.c.version_id)
    ).all()
    first = select(flow_stat.c.task_flow_id).where(*mine).order_by(flow_stat.c.registered_ts).limit(SHOWN)
    count = sum(row.flows for row in counted)
    return {
        "count": min(count, MOST),
        "is_more": count > MOST,
        "versions": [{"version_id": row.version_id, "flows": row.flows} for row in counted],
        "flows": list(conn.scalars(first)),
    }


def count_live(conn: Connection, task_id: str, most: int) -> int:
    """How many are under way; counted up to `most`."""
    one = select(flow_stat.c.task_id).where(flow_stat.c.task_id == task_id, IS_ACTIVE).limit(most)
    return int(conn.scalar(select(func.count()).select_from(one.subquery())) or 0)
