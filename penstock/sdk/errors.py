"""The errors of the clients: those of penstock/doors/problems.py, whichever door was taken, and two of their own.

PenstockError
├── Problem               a service, or a database opened here, refused: `kind`, `code`, `detail`
│   ├── NotFound          what the request is about is not there, or out of reach
│   ├── BadRequest        the request itself is wrong
│   ├── Refused           it does not fit the state that it finds, or who asks may not do it
│   │   └── Unauthorised  the service wants a token, or another one
│   └── Unavailable       the service or its database does not answer, not even when asked again
├── StillGoing            waited for as long as was wanted, and the flow has not ended
└── NoResult              the flow has not finished, so it has no result
"""

from __future__ import annotations

from engine.errors import PenstockError
from penstock.doors.problems import BadRequest, Problem, problem_of
from penstock.models import Flow

__all__ = ["NoResult", "StillGoing", "as_problem", "unfit"]


class StillGoing(PenstockError):
    """The flow has not ended within the time; it goes on without being watched. `flow` is how it stood at last."""

    def __init__(self, flow: Flow, seconds: float) -> None:
        self.flow = flow
        super().__init__(
            f"flow {flow.id} is still {_status(flow)} after {seconds:g} s ({flow.finish_count} of {flow.task_count} "
            "tasks finished); it goes on without being watched"
        )


class NoResult(PenstockError):
    """The flow has not finished, so there is no result of it. `flow` is how it stands."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        because = f" ({flow.reason})" if flow.reason else ""
        super().__init__(
            f"flow {flow.id} is {_status(flow)}{because}, and only a finished one has a result: wait for it, or see "
            "its tasks for what holds it up"
        )


def as_problem(error: PenstockError) -> Problem:
    """An error of the engine as the one that a service would have answered with, in the engine's own words."""
    if isinstance(error, Problem):
        return error
    from register.problems import problem_of as document_of  # a web framework, needed for nothing else here

    document = document_of(error, "")
    return problem_of(document["code"], {**document, "detail": str(error)})


def unfit(what: str, why: object) -> BadRequest:
    """What the client itself sees to be wrong, and does not send."""
    return BadRequest("bad-request", 422, f"{what}: {why}")


def _status(flow: Flow) -> str:
    return str(getattr(flow.status, "name", flow.status))
