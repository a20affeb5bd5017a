"""Headers by which browsers keep what they are given from harm."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from register.actors import HOLDER

NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""A document of JSON loads nothing, and stands in no frame. Pages say what they need themselves."""
A_YEAR: Final = "max-age=31536000"


def protect(headers: MutableHeaders, scope: Scope) -> None:
    """Add them to an answer, where its maker has not set others."""
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Content-Security-Policy", NOTHING)
    headers.setdefault("Referrer-Policy", "no-referrer")
    if HOLDER in scope:
        headers.setdefault("Cache-Control", "no-store")
    if scope["scheme"] == "https":
        headers.setdefault("Strict-Transport-Security", A_YEAR)
