"""What goes in and out where it is about who may ask, as pydantic models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr

from engine.access import MAX_PATTERNS, Role
from engine.flows import MAX_ID
from register.api.parts import PageQuery

Patterns = Annotated[list[StrictStr], Field(max_length=MAX_PATTERNS)]
_WORKFLOWS = "ids of workflows, or how they begin and a *; null: all"


class LogIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: StrictStr = Field(max_length=200, description="a token, as it is shown when it is made")


class Session(BaseModel):
    """Who asks, and what they may do."""

    name: str
    role: Role
    workflows: list[str] | None = Field(description=_WORKFLOWS)
    authentication: bool = Field(description="whether this service asks for tokens at all")
    oidc: bool = Field(description="whether people can log in at /api/v1/session/oidc/login")
    csrf: str | None = Field(description="with a cookie: what a change takes as the header X-CSRF-Token")
    ends_in_s: float | None = Field(description="seconds until the token or the session ends; null: never")


class Done(BaseModel):
    status: Literal["succeeded"]


class NewToken(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role
    workflows: Patterns | None = Field(None, description=_WORKFLOWS)
    reason: StrictStr | None = Field(None, max_length=10_000)
    name: StrictStr = Field(min_length=1, max_length=MAX_ID, description="who it is: flows and commands say it")
    expires_s: Annotated[StrictFloat | StrictInt, Field(gt=0, le=1e9)] | None = Field(
        None, description="how many seconds it is good for; for ever if left out"
    )


class MadeToken(BaseModel):
    token: str = Field(description="shown this once")
    token_id: str
    name: str
    role: Role
    workflows: list[str] | None = Field(description=_WORKFLOWS)


class Token(BaseModel):
    token_id: str
    name: str
    kind: str
    role: Role
    workflows: list[str] | None
    created_ts: str
    created_by: str | None
    expires_ts: str | None
    revoked_ts: str | None
    revoked_by: str | None
    used_ts: str | None = Field(description="to the minute")
    parent_id: str | None = Field(description="of a session: the token that it came from")
    principal: str | None = Field(description="of a session: the person that it came from")
    is_live: bool


class TokensQuery(PageQuery):
    kind: Literal["api", "session"] = Field("api", description="api, or session for those of browsers")


class TokenPage(BaseModel):
    tokens: list[Token]
    next: str | None


class Principal(BaseModel):
    name: str
    role: Role
    workflows: list[str] | None
    created_ts: str | None
    disabled_ts: str | None


class PrincipalPage(BaseModel):
    principals: list[Principal]
    next: str | None
