"""The public face: what programs and plugins import, and the clients. `import penstock` pulls in no database and no web
server: each name is imported when it is first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from penstock.async_client import AsyncClient as AsyncClient
    from penstock.client import Client as Client
    from penstock.doors.problems import BadRequest as BadRequest
    from penstock.doors.problems import NotFound as NotFound
    from penstock.doors.problems import Problem as Problem
    from penstock.doors.problems import Refused as Refused
    from penstock.doors.problems import Unauthorised as Unauthorised
    from penstock.doors.problems import Unavailable as Unavailable
    from penstock.sdk.errors import NoResult as NoResult
    from penstock.sdk.errors import StillGoing as StillGoing
    from programs.contract import Arrival as Arrival
    from programs.contract import Call as Call
    from programs.contract import Program as Program
    from programs.contract import Stopped as Stopped
    from programs.contract import program as program
    from programs.hooks import hookimpl as hookimpl
    from programs.outcomes import Again as Again
    from programs.outcomes import Await as Await
    from programs.outcomes import Choose as Choose
    from programs.outcomes import Fail as Fail
    from programs.outcomes import Finish as Finish
    from programs.outcomes import Outcome as Outcome
    from programs.outcomes import Plan as Plan
    from programs.outcomes import Task as Task
    from programs.transport import guarded_session as guarded_session

_HOMES: Final = {
    "programs.contract": ("Arrival", "Call", "Program", "Stopped", "program"),
    "programs.hooks": ("hookimpl",),
    "programs.transport": ("guarded_session",),
    "programs.outcomes": ("Again", "Await", "Choose", "Fail", "Finish", "Outcome", "Plan", "Task"),
    "penstock.client": ("Client",),
    "penstock.async_client": ("AsyncClient",),
    "penstock.doors.problems": ("BadRequest", "NotFound", "Problem", "Refused", "Unauthorised", "Unavailable"),
    "penstock.sdk.errors": ("NoResult", "StillGoing"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    found = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
