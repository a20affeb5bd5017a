"""Which error is which answer: `application/problem+json` (RFC 9457) that still carries what Flower's clients read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from engine.errors import (
    AlreadyAnswered,
    BadDefinition,
    BadRequest,
    Conflict,
    DatabaseUnavailable,
    FatalDatabaseError,
    Forbidden,
    KeyReused,
    NotAllowed,
    OutcomeUnknown,
    Outdated,
    PenstockError,
    PoisonData,
    TooManyFlows,
    UnfitProgram,
    UnknownFlow,
    UnknownPrincipal,
    UnknownTask,
    UnknownToken,
    UnknownVersion,
    UnknownWait,
    UnknownWatcher,
    UnknownWorker,
    UnknownWorkflow,
)
from engine.outages import AWAY, OUTAGES
from register.answers import Answer

log = logging.getLogger("penstock.register")

URN: Final = "urn:penstock:problem:"
RETRY_AFTER_S: Final = 1


@dataclass(frozen=True)
class Kind:
    """A type of problem. `hidden` keeps the error's own words in the log: they are about our side, not the request."""

    name: str
    code: int
    title: str
    hidden: str | None = None


NOT_FOUND = Kind("not-found", 404, "Nothing is at this path")
WRONG_METHOD = Kind("method-not-allowed", 405, "This path has no such method")
TOO_LARGE = Kind("body-too-large", 413, "The body is too large")
UNKNOWN_WORKFLOW = Kind("unknown-workflow", 404, "No workflow has this id")
UNKNOWN_FLOW = Kind("unknown-flow", 404, "No flow has this id")
UNKNOWN_WORKER = Kind("unknown-worker", 404, "No worker of this id is enlisted")
STALE_CLAIM = Kind("stale-claim", 409, "Another claim, or a person, has the task now")
UNKNOWN_TASK = Kind("unknown-task", 404, "The flow has no such task")
UNKNOWN_WAIT = Kind("unknown-wait", 404, "Nothing is awaited under this id")
UNKNOWN_WATCHER = Kind("unknown-watcher", 404, "No watcher has this id")
CONFLICT = Kind("conflict", 409, "The request does not fit the state that it finds")
ALREADY_ANSWERED = Kind("already-answered", 409, "The wait is over")
NOT_ALLOWED = Kind("not-allowed", 403, "Others may answer this wait")
FORBIDDEN = Kind("forbidden", 403, "Who asks may not do this")
BAD_DEFINITION = Kind("bad-definition", 409, "The workflow's definition cannot run")
UNFIT_PROGRAM = Kind("unfit-program", 422, "A step does not fit the installed programs")
BAD_REQUEST = Kind("bad-request", 422, "The request does not fit")
KEY_REUSED = Kind("key-reused", 422, "The idempotency key belongs to another request")
UNKNOWN_VERSION = Kind("unknown-version", 404, "The workflow has no version of this id")
OUTDATED = Kind("outdated", 412, "The workflow is not as it was seen")
TOO_MANY_FLOWS = Kind("too-many-flows", 429, "The workflow has as many flows under way as it may")
REFUSED_VALUE = Kind("refused-value", 422, "The database refuses a value of this registration")
UNAUTHENTICATED = Kind("unauthenticated", 401, "Nobody knows who asks")
TWO_CREDENTIALS = Kind("two-credentials", 400, "A cookie and a bearer token were both given")
CROSS_SITE = Kind("cross-site", 403, "Another site's page asked")
WRONG_HOST = Kind("wrong-host", 421, "This service is not called by that name")
TOO_MANY_REQUESTS = Kind("too-many-requests", 429, "Too many requests came from here")
UNKNOWN_TOKEN = Kind("unknown-token", 404, "No token has this id")
UNKNOWN_PRINCIPAL = Kind("unknown-principal", 404, "Nobody has this name")
BAD_INPUT = Kind("bad-input", 400, "The request does not fit")
PRESSED = Kind("pressed", 429, "Too many requests are waiting")
BUSY = Kind("busy", 503, "Too many requests are waiting")
NOT_READY = Kind("not-ready", 503, "The service cannot work yet")
UNAVAILABLE = Kind(
    "database-unavailable", 503, "The database does not answer", "nothing was changed: ask again in a while"
)
OUTCOME_UNKNOWN = Kind(
    "outcome-unknown",
    503,
    "The database fell silent during the commit",
    "the change may or may not have been made: look, or repeat the request with the same Idempotency-Key",
)
TIMED_OUT = Kind("timeout", 504, "The request took too long")
STOPPING = Kind("stopping", 503, "The service is stopping")
FATAL = Kind("database-refuses", 500, "The database is not set up for this service", "the service's log says why")
INTERNAL = Kind("internal-error", 500, "The service made a mistake", "the service's log has it under this instance")
OTHER = Kind("http-error", 400, "The request was refused")

KINDS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Kind))
DATABASE: Final = (BUSY, UNAVAILABLE, FATAL)
"""What whoever asks the database may be answered with."""
READING: Final = (BAD_REQUEST, *DATABASE)
"""What whoever reads may be answered with, whatever it is."""

_BY_ERROR: Final[Mapping[type[Exception], Kind]] = {
    UnknownWorkflow: UNKNOWN_WORKFLOW,
    UnknownFlow: UNKNOWN_FLOW,
    UnknownWorker: UNKNOWN_WORKER,
    UnknownTask: UNKNOWN_TASK,
    UnknownWait: UNKNOWN_WAIT,
    UnknownWatcher: UNKNOWN_WATCHER,
    Conflict: CONFLICT,
    AlreadyAnswered: ALREADY_ANSWERED,
    NotAllowed: NOT_ALLOWED,
    Forbidden: FORBIDDEN,
    UnfitProgram: UNFIT_PROGRAM,
    BadDefinition: BAD_DEFINITION,
    UnknownToken: UNKNOWN_TOKEN,
    UnknownPrincipal: UNKNOWN_PRINCIPAL,
    BadRequest: BAD_REQUEST,
    KeyReused: KEY_REUSED,
    TooManyFlows: TOO_MANY_FLOWS,
    UnknownVersion: UNKNOWN_VERSION,
    Outdated: OUTDATED,
    PoisonData: REFUSED_VALUE,
    DatabaseUnavailable: UNAVAILABLE,
    OutcomeUnknown: OUTCOME_UNKNOWN,
    FatalDatabaseError: FATAL,
}
_BY_CODE: Final = {404: NOT_FOUND, 405: WRONG_METHOD}
_OF_BODY: Final = frozenset({"parameters", "priority", "runKey", "body"})


class Refused(PenstockError):
    """A problem that the register itself finds. `members` are added to the problem's own."""

    headers: Mapping[str, str] = {}
    """Of the answer, besides the usual ones."""

    def __init__(self, kind: Kind, detail: str, **members: Any) -> None:
        self.kind = kind
        self.members = members
        super().__init__(detail)


class Busy(Refused):
    """The queue before the database is full."""

    def __init__(self, detail: str) -> None:
        super().__init__(BUSY, detail)


def kind_of(error: Exception) -> Kind:
    if isinstance(error, Refused):
        return error.kind
    if isinstance(error, HTTPException):
        return _BY_CODE.get(error.status_code, OTHER)
    return next((_BY_ERROR[of] for of in type(error).__mro__ if of in _BY_ERROR), INTERNAL)


def answer_to(request: Request, error: Exception, **members: Any) -> Response:
    """The answer to a request that failed with `error`; whatever is our own fault is logged under the request's id."""
    kind = kind_of(error)
    request_id = request.scope["request_id"]
    if kind.code == 500:
        log.error("%s %s failed: %s", request.method, request.url.path, request_id, exc_info=error)
    elif kind.hidden is not None and kind.code == 503:
        if (left_out := OUTAGES.may_say(AWAY)) is not None:
            words = "%s %s failed: %s: %s (%d more such lines left out)"
            log.warning(words, request.method, request.url.path, request_id, error, left_out)
    elif kind.hidden is not None:
        log.warning("%s %s failed: %s: %s", request.method, request.url.path, request_id, error)
    body = problem_of(error, request_id, **members)
    code = body["code"]
    headers = dict(error.headers or {}) if isinstance(error, HTTPException | Refused) else {}
    if code in (429, 503):
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return Answer(body, code, headers, media_type="application/problem+json")


def problem_of(error: Exception, request_id: str, **members: Any) -> dict[str, Any]:
    """The error as a document."""
    kind = kind_of(error)
    code = error.status_code if isinstance(error, HTTPException) else kind.code
    return _problem(kind, code, _detail(error, kind), request_id) | _members(error) | members


def _problem(kind: Kind, code: int, detail: str, request_id: str) -> dict[str, Any]:
    return {
        "type": URN + kind.name,
        "title": kind.title,
        "code": code,  # RFC 9457 puts the number into `status`, which is a word for Flower's clients
        "detail": detail,
        "instance": request_id,
        "status": "failed",
        "taskId": "error",
        "description": "no tasks registered" if kind is UNKNOWN_WORKFLOW else detail,
    }


def _detail(error: Exception, kind: Kind) -> str:
    if kind.hidden is not None:
        return kind.hidden
    return error.detail if isinstance(error, HTTPException) else str(error)


def _members(error: Exception) -> dict[str, Any]:
    if isinstance(error, Refused):
        return error.members
    if isinstance(error, KeyReused):
        return {"taskFlowId": error.flow_id}
    if isinstance(error, BadRequest):
        where = {"pointer": f"#/{error.field}"} if error.field in _OF_BODY else {"parameter": error.field}
        return {"errors": [{**where, "detail": error.why}]}
    return {}


def misfit(error: ValidationError, *, place: str) -> Refused:
    """A pydantic complaint as a problem; `place` says which part of the request was read: `body` or `query`."""
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = "/".join(str(part) for part in item["loc"])
        where = {"pointer": f"#/{name}"} if place == "body" else {"parameter": name}
        found.append({**where, "detail": item["msg"]})
    return Refused(
        BAD_REQUEST, "; ".join(f"{next(iter(one.values()))}: {one['detail']}" for one in found), errors=found
    )
