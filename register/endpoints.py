"""One path of the service: what runs it, and what is said about it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from engine.access import Role
from register.access.guarded import GuardedRoute
from register.problems import Kind

NEXT_PAGE: Final = {"Link": "the next page, `rel=next`; absent on the last"}
"""The headers of an answer that is one page of a list."""


@dataclass(frozen=True)
class Many:
    """Many of a kind in one request: as an array, or line by line; the answer is 207 if some were refused."""

    takes: type[BaseModel]
    line: type[BaseModel]
    answers: type[BaseModel]


@dataclass(frozen=True)
class Endpoint:
    """A method and a path in Starlette's spelling, with all that the description of the service says about them."""

    method: str
    path: str
    run: Callable[[Request], Awaitable[Response]]
    summary: str
    answers: type[BaseModel] | None
    """None: any document."""
    takes: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Request headers: name -> schema."""
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of a good answer: name -> what it means."""
    problems: tuple[Kind, ...] = ()
    many: Many | None = None
    """How the same is asked for many times in one request."""
    media: str = "application/json"
    """What a good answer is, where no model says it."""
    name: str | None = None
    """What it is called in the description; that of `run` unless it is given."""
    role: Role | None = Role.VIEWER
    """Whoever asks needs this role; None: it is open to everybody."""

    def route(self) -> GuardedRoute:
        return GuardedRoute(self.path, self.run, methods=[self.method], role=self.role)

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it."""
        return re.sub(r":\w+}", "}", self.path)

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.template)
