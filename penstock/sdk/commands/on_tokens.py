"""Commands on who may ask for what: tokens, and people who log in elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine import tokens
from penstock.models import MadeToken
from penstock.sdk.asking import Command, as_list, asking, nothing


class OnTokens:
    """Who may ask over HTTP."""

    @asking
    def new_token(
        self,
        name: str,
        role: str,
        *,
        workflows: Sequence[str] | None = None,
        expires_s: float | None = None,
        reason: str | None = None,
    ) -> Command[MadeToken]:
        """Make a token with this role: viewer, worker, operator, author or admin. `workflows` are those that it
        reaches, ids or how they begin and a `*` (all); it is good for `expires_s` seconds (for ever). The secret is
        made here, and only its hash is sent."""
        secret = tokens.new_token()

        def read(answer: Mapping[str, Any]) -> MadeToken:
            return MadeToken.of({**answer, "token": secret})

        told = {
            "role": role,
            "token_hash": tokens.hash_of(secret),
            "workflows": as_list(workflows),
            "expires_s": expires_s,
        }
        return Command("create_token", name, told, reason, read)

    @asking
    def create_token(
        self,
        name: str,
        role: str,
        token_hash: str,
        *,
        workflows: Sequence[str] | None = None,
        expires_s: float | None = None,
        reason: str | None = None,
    ) -> Command[str]:
        """As `new_token`, for a secret that was made elsewhere: `token_hash` is its SHA-256, in hex. Returns its id."""
        told = {"role": role, "token_hash": token_hash, "workflows": as_list(workflows), "expires_s": expires_s}
        return Command("create_token", name, told, reason, lambda answer: str(answer["token_id"]))

    @asking
    def revoke_token(self, token_id: str, *, reason: str | None = None) -> Command[None]:
        """End a token, and the sessions that came from it."""
        return Command("revoke_token", token_id, {}, reason, nothing)

    @asking
    def set_principal(
        self, name: str, role: str, *, workflows: Sequence[str] | None = None, reason: str | None = None
    ) -> Command[None]:
        """Say what a person who logs in elsewhere may do; `workflows` as of `new_token`."""
        return Command("set_principal", name, {"role": role, "workflows": as_list(workflows)}, reason, nothing)

    @asking
    def drop_principal(self, name: str, *, reason: str | None = None) -> Command[None]:
        """Let a person in no longer, and end that person's sessions."""
        return Command("drop_principal", name, {}, reason, nothing)
