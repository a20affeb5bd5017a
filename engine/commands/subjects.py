"""Does whoever asks reach what the command is about? Asked in the command's own transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, select

from engine.commands.command import Asked, Command, Noun
from engine.database import Database
from engine.errors import PenstockError, UnknownFlow, UnknownWait, UnknownWorkflow
from engine.limits.rows import WORKFLOW
from engine.tables import flow_stat, wait


def check_reach(conn: Connection, command: Command, asked: Asked[Any]) -> None:
    """Errors: UnknownFlow, UnknownWait and UnknownWorkflow for what is beyond the actor's reach, as if it were not
    there; Forbidden for what concerns all workflows alike."""
    actor = asked.actor
    if actor.reach.is_all or command.is_checked_by_itself:
        return
    if command.noun is Noun.WORKFLOW or (
        command.noun is Noun.LIMIT and getattr(asked.arguments, "scope", None) == WORKFLOW
    ):
        _refuse(actor.reach.covers(asked.subject), UnknownWorkflow(asked.subject))
    elif command.noun is Noun.FLOW:
        own = select(flow_stat.c.task_id).where(flow_stat.c.task_flow_id == asked.subject)
        _refuse(_covers(conn, asked, own), UnknownFlow(asked.subject))
    elif command.noun is Noun.WAIT:
        of_flow = flow_stat.c.task_flow_id == wait.c.task_flow_id
        own = select(flow_stat.c.task_id).join_from(wait, flow_stat, of_flow).where(wait.c.wait_id == asked.subject)
        _refuse(_covers(conn, asked, own), UnknownWait(asked.subject))
    else:
        actor.needs_all(command.name.replace("_", " "))


def refuse_unreached(db: Database, command: Command, asked: Asked[Any]) -> None:
    """The same, for a command that has many transactions."""
    with db.read() as conn:
        check_reach(conn, command, asked)


def _covers(conn: Connection, asked: Asked[Any], own: Select[Any]) -> bool:
    task_id = conn.scalar(own)
    return task_id is not None and asked.actor.reach.covers(task_id)


def _refuse(is_reached: bool, error: PenstockError) -> None:
    if not is_reached:
        raise error
