"""Every command of the engine's table as a path of its own: `POST /api/v1/flows/{flow_id}/cancel` and its like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from pydantic import BaseModel, Field, StrictStr, create_model
from starlette.requests import Request
from starlette.responses import Response

from engine.access import Actor, Reach, Role
from engine.commands import COMMANDS, Ask, Command, Noun, carry_out
from engine.commands.carrying_out import MAX_REASON
from register import bodies, problems
from register.actors import actor_of
from register.answers import Answer
from register.api import models
from register.api.parts import PREFIX, part_of
from register.endpoints import Endpoint
from register.service import service_of

PARAMETERS: Final = {
    Noun.FLOW: "flow_id",
    Noun.WORKFLOW: "task_id",
    Noun.WAIT: "wait_id",
    Noun.WATCHER: "watcher_id",
    Noun.TOKEN: "token_id",
}
"""What the subject is called in the path; of the others it is a name."""
ELSEWHERE: Final = frozenset({"register"})
"""Commands whose path stands in a file of its own."""
OPEN: Final = frozenset({"call_back"})
"""Whoever knows the token may: it is asked for by systems that have no other."""
_PROBLEMS: Final = {
    Noun.FLOW: (problems.UNKNOWN_FLOW, problems.UNKNOWN_WORKFLOW, problems.BAD_DEFINITION),
    Noun.WORKFLOW: (problems.UNKNOWN_WORKFLOW, problems.BAD_DEFINITION),
    Noun.WAIT: (problems.UNKNOWN_WAIT, problems.ALREADY_ANSWERED, problems.NOT_ALLOWED),
    Noun.WATCHER: (problems.UNKNOWN_WATCHER,),
    Noun.TOKEN: (problems.UNKNOWN_TOKEN,),
    Noun.PRINCIPAL: (problems.UNKNOWN_PRINCIPAL,),
    Noun.EVERYTHING: (problems.UNKNOWN_WAIT, problems.ALREADY_ANSWERED),
}
_ALWAYS: Final = (
    problems.BAD_REQUEST,
    problems.REFUSED_VALUE,
    problems.FORBIDDEN,
    problems.CONFLICT,
    problems.TOO_LARGE,
    problems.OUTCOME_UNKNOWN,
    *problems.DATABASE,
)


def endpoints() -> tuple[Endpoint, ...]:
    return tuple(_endpoint(command) for name, command in COMMANDS.items() if name not in ELSEWHERE)


def path_of(command: Command) -> str:
    if command.noun is Noun.EVERYTHING:
        return f"{PREFIX}/{command.name}"
    return f"{PREFIX}/{command.noun}s/{{{_parameter(command)}}}/{command.verb}"


def _parameter(command: Command) -> str:
    return PARAMETERS.get(command.noun, "name")


def _endpoint(command: Command) -> Endpoint:
    return Endpoint(
        "POST",
        path_of(command),
        _handler(command),
        command.about,
        models.CommandAnswer,
        takes=_body(command),
        problems=(*_PROBLEMS.get(command.noun, ()), *_ALWAYS),
        role=None if command.name in OPEN else command.role,
        name=command.name,
    )


def _body(command: Command) -> type[BaseModel]:
    """The arguments of the command, and why it is asked for."""
    reason: Any = (StrictStr | None, Field(default=None, max_length=MAX_REASON, description="why it is asked for"))
    title = "".join(word.title() for word in command.name.split("_"))
    return create_model(f"{title}Command", __base__=command.arguments, reason=reason)


def _handler(command: Command) -> Callable[[Request], Awaitable[Response]]:
    body_model = _body(command)

    async def run(request: Request) -> Response:
        service = service_of(request)
        subject = None if command.noun is Noun.EVERYTHING else part_of(request, _parameter(command))
        body = bodies.read_model(await bodies.read_body(request, service.settings.max_body_bytes), body_model)
        told = body.model_dump(mode="python", exclude_unset=True)
        ask = Ask(command.name, subject, {key: value for key, value in told.items() if key != "reason"}, _reason(body))
        actor = _bearer(request) if command.name in OPEN else actor_of(request)
        answer = await service.readers.run(lambda db: carry_out(db, ask, actor, service.check))
        return Answer({"outcome": "done", "verb": command.name, "subject": subject, "answer": dict(answer)})

    return run


def _reason(body: Any) -> str | None:
    reason: str | None = body.reason
    return reason


def _bearer(request: Request) -> Actor:
    """Whoever holds what the request itself shows, and may do nothing else."""
    asker = actor_of(request)
    return Actor("callback", Role.OPERATOR, Reach(()), asker.door, asker.address, asker.request_id)
