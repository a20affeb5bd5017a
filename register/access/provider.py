"""What is known of the OpenID provider at which people log in."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from engine.access import Role
from engine.errors import BadRequest, PenstockError
from register.access.exposure import is_loopback


class MissingExtra(PenstockError):
    """What people log in with elsewhere is not installed."""

    def __init__(self) -> None:
        super().__init__("to log people in elsewhere takes more packages: pip install 'penstock[oidc]'")


@dataclass(frozen=True)
class Provider:
    """`issuer` and `redirect_url` must be, to the letter, what the provider calls them."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_url: str
    """Ours, as browsers reach it: .../api/v1/session/oidc/callback"""
    claim: str = "email"
    """The claim that says by which name `ms_principal` has the person."""
    default_role: Role | None = None
    """What people may do whom `ms_principal` does not have; None: nothing."""

    def __post_init__(self) -> None:
        for name in ("issuer", "redirect_url"):
            url = urlsplit(getattr(self, name))
            if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
                raise BadRequest(f"oidc {name}", f"{getattr(self, name)!r} must begin with https://")
        if not self.client_id:
            raise BadRequest("oidc client_id", "is missing")
