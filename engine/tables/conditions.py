"""What watchers ask of the rows, as conditions.

Numbers and texts are literals because a partial index is only used where the planner can see at planning time that its
condition holds.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import and_, literal_column, or_

from engine.states import WAITING_REASONS
from engine.tables.operating import command
from engine.tables.runs import flow_stat, task_stat
from engine.tables.waits import message, wait

_status, _count = task_stat.c.exec_status, task_stat.c.wait_count


def _number(value: int) -> Any:
    return literal_column(str(value))


IS_WAITING: Final = _status == _number(0)
IS_READY: Final = and_(IS_WAITING, _count == _number(0))
IS_RUNNING: Final = _status == _number(1)
_status_by_key = _status + _number(0)
STATUS_BY_KEY: Final = _status_by_key
IS_READY_BY_KEY: Final = and_(_status_by_key == _number(0), _count + _number(0) == _number(0))
IS_RUNNING_BY_KEY: Final = _status_by_key == _number(1)
"""The same of rows that are found by their keys, said in a way that no partial index answers: what is ready or running
comes and goes sooner than PostgreSQL learns of it, and such an index, which it takes to be empty, is read from end to
end for each key."""
IS_SUSPENDED: Final = _status == _number(2)
IS_MADE_BY_HAND: Final = and_(IS_WAITING, or_(_count.is_(None), _count < _number(0)))
IS_UNEXPLAINED: Final = and_(
    IS_SUSPENDED,
    or_(task_stat.c.suspended_ts.is_(None), task_stat.c.reason.is_(None), task_stat.c.reason.in_(WAITING_REASONS)),
)
"""Suspended by hand: whoever suspends through the engine leaves a time and a reason."""
IS_SET_BACK: Final = and_(IS_WAITING, _count >= _number(0), task_stat.c.suspended_ts.isnot(None))
"""Suspended once, and set back to waiting by hand."""
IS_UNTOLD: Final = and_(_status.in_([_number(3), _number(9)]), or_(_count.is_(None), _count >= _number(0)))

_flow_status = flow_stat.c.flow_status
IS_ACTIVE: Final = _flow_status.in_([_number(0), _number(1), _number(2)])
IS_FLOW_SUSPENDED: Final = _flow_status == _number(2)
IS_OVERSEEN: Final = and_(IS_ACTIVE, flow_stat.c.deadline_ts.isnot(None))
IS_CLOSING: Final = and_(_flow_status.in_([_number(3), _number(9)]), flow_stat.c.closing == _number(1))
"""Ended flows with something left to do: a result to work out, a parent to tell, a roll-back to begin."""
IS_OPEN_WAIT: Final = wait.c.state == literal_column("'open'")
IS_TURN: Final = and_(IS_OPEN_WAIT, wait.c.kind == literal_column("'turn'"))
"""A task of a flow that waits for others of its workflow to end."""
IS_ASKED: Final = command.c.handled_ts.is_(None)
"""A command that nobody has carried out or refused yet."""
IS_UNREAD: Final = message.c.wait_id.is_(None)

CLAIM_ORDER: Final = (
    task_stat.c.task_priority,
    task_stat.c.registered_ts,
    task_stat.c.task_flow_id,
    task_stat.c.task_exec_seq,
)
