"""Many registrations through the door of a database, answered as the service answers them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.access import Actor, Role
from engine.database import Database
from engine.definition.reading import Check
from engine.errors import UnknownWorkflow
from engine.flows import Registration
from penstock.doors.door import Document


def register_lines(
    db: Database, task_id: str, lines: Sequence[bytes], actor: Actor, check: Check | None = None
) -> Document:
    """Errors: UnknownWorkflow beyond the actor's reach; that of the first line, if none can be made."""
    from register.api.registering import wish_of  # the service's own reading of a line, and its web framework with it
    from register.bulk import TOGETHER, Tally, wishes_of
    from register.commits import commit_all

    actor.needs(Role.OPERATOR, "register")
    if not actor.reach.covers(task_id):
        raise UnknownWorkflow(task_id)
    tally = Tally()
    for first in range(0, len(lines), TOGETHER):
        wishes = wishes_of(task_id, lines[first : first + TOGETHER], None, by=actor.name, read=wish_of)
        outcomes = commit_all(db, [wish for wish in wishes if isinstance(wish, Registration)], check=check)
        for wish in wishes:
            tally.add(wish, outcomes[wish.flow_id] if isinstance(wish, Registration) else wish)
    if tally.told and not tally.registered:
        raise tally.told[0][2]
    told = tally.document(task_id, "")
    answer = {name: told[name] for name in ("registered", "refused", "problems")}
    return {**answer, "task_flow_ids": told["taskFlowIds"]}
