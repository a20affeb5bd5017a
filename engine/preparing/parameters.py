"""The parameters of a task that begins: its own, with templates rendered and mappings worked out, and its flow's."""

from __future__ import annotations

from typing import Any, NamedTuple

from engine import jsontext
from engine.claimed import ClaimedTask
from engine.preparing import mappings, templates
from engine.preparing.refusals import Refused
from engine.preparing.scoping import Scoping
from engine.row_checks import MAX_PARAMETERS_BYTES
from engine.states import Reason


class Prepared(NamedTuple):
    """`own` wins over `of_flow`, of which a program gets what it declares and the row leaves open."""

    own: dict[str, Any]
    of_flow: dict[str, Any]
    secrets: dict[str, Any]
    """Of the own ones those that refer to secrets, as the definition says them: what may be looked up."""


def prepared(task: ClaimedTask, read: Scoping) -> Prepared:
    """Errors: Refused, for a row that cannot be run as it stands; those of the database."""
    of_flow = of_flow_of(task)
    said = _object(task.parameters, "parameters")
    secrets = templates.secrets_of(task, said)
    own = templates.rendered(task, said, of_flow, read)
    mapped = mappings.worked_out(task, of_flow, read)
    return Prepared(own | mapped, of_flow, {name: raw for name, raw in secrets.items() if name not in mapped})


def of_flow_of(task: ClaimedTask) -> dict[str, Any]:
    """The parameters of the task's flow. Errors: Refused."""
    return _object(task.flow_parameters or "{}", "the flow's parameters")


def _object(text: str | None, what: str) -> dict[str, Any]:
    try:
        return jsontext.loads_object(text, max_bytes=MAX_PARAMETERS_BYTES)
    except jsontext.NotJSON as error:
        raise Refused(Reason.BAD_PARAMETERS, f"{what} {error}") from None
