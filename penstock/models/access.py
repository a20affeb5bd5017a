"""Who may ask: tokens, and people who log in elsewhere."""

from __future__ import annotations

from datetime import datetime

from penstock.models.base import Model


class Token(Model):
    """Who may ask over HTTP; the token itself is shown once, when it is made."""

    token_id: str
    name: str
    kind: str
    """api, or session of a browser."""
    role: str
    workflows: tuple[str, ...] | None = None
    """Ids of workflows, or how they begin and a `*`; None: all."""
    created_ts: datetime
    created_by: str | None = None
    expires_ts: datetime | None = None
    revoked_ts: datetime | None = None
    revoked_by: str | None = None
    used_ts: datetime | None = None
    parent_id: str | None = None
    """Of a session: the token that it was begun with."""
    principal: str | None = None
    """Of a session: the person who logged in."""
    is_live: bool


class MadeToken(Model):
    """A token that was just made."""

    token: str
    """The secret: nobody can read it again."""
    token_id: str
    name: str
    role: str
    workflows: tuple[str, ...] | None = None


class Principal(Model):
    """A person who logs in elsewhere, and what that person may do here."""

    name: str
    role: str
    workflows: tuple[str, ...] | None = None
    created_ts: datetime | None = None
    disabled_ts: datetime | None = None
