"""Answers to what tasks await."""

from __future__ import annotations

from typing import Any

from penstock.models import Sent
from penstock.sdk.asking import Command, asking, nothing


class OnWaits:
    """What people, and other systems, answer."""

    @asking
    def answer(self, wait_id: str, payload: Any = None, *, reason: str | None = None) -> Command[None]:
        """Answer an approval (`{"approved": True}`) or a form (what fits its schema).

        Errors: NotFound; Refused if the wait is over, or others are to answer it; BadRequest for what does not fit.
        """
        return Command("answer", wait_id, {"payload": payload}, reason, nothing)

    @asking
    def send(
        self, name: str, key: str, payload: Any = None, *, expires_s: float | None = None, reason: str | None = None
    ) -> Command[Sent]:
        """Send a message to the task that has awaited one of this name and key for longest. While nobody awaits it, it
        is kept for `expires_s` seconds (a day)."""
        return Command("send", name, {"key": key, "payload": payload, "expires_s": expires_s}, reason, Sent.of)

    @asking
    def call_back(self, token: str, payload: Any = None, *, reason: str | None = None) -> Command[None]:
        """Give a payload to the task that gave the token away."""
        return Command("call_back", None, {"token": token, "payload": payload}, reason, nothing)
