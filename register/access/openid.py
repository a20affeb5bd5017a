"""The provider's side of a log-in by OpenID Connect: authorization code with PKCE, state and nonce.

It is imported only where a provider is configured, as authlib takes half a second and brings a cryptographic library.
All calls here block: they talk to the provider.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from engine.flows import MAX_ID
from register.access.exposure import is_loopback
from register.access.provider import Provider
from register.access.refusals import Unauthenticated
from register.problems import Kind, Refused

PROVIDER_AWAY: Final = Kind("provider-unavailable", 503, "The OpenID provider cannot be used")
ALGORITHMS: Final = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]
"""Signatures by a key of the provider; none by a secret that both sides know, and none at all."""
SCOPE: Final = "openid email profile"
PATIENCE_S: Final = 10.0
KEEP_S: Final = 600.0
"""How long what the provider says of itself is believed."""
AGAIN_S: Final = 60.0
"""Its keys are fetched no sooner again, whatever a token names."""
LEEWAY_S: Final = 60
"""By how much the provider's clock may differ from this machine's."""


@dataclass(frozen=True)
class Begun:
    """A log-in that has begun; the browser keeps it in a cookie until it comes back."""

    state: str
    nonce: str
    verifier: str
    onward: str
    """The path where the browser goes in the end."""

    def document(self) -> dict[str, str]:
        return asdict(self)


class OpenID:
    """One provider, for any thread."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, Any], KeySet] | None = None

    def begin(self, onward: str) -> tuple[str, Begun]:
        """Where the browser goes now, and what to compare later. Errors: Refused (503)."""
        begun = Begun(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), onward)
        about, _ = self._about()
        with self._session() as session:
            url, _ = session.create_authorization_url(
                about["authorization_endpoint"], state=begun.state, code_verifier=begun.verifier, nonce=begun.nonce
            )
        return url, begun

    def finish(self, code: str, begun: Begun) -> str:
        """The name of the person, once everything was checked. Errors: Unauthenticated; Refused (503)."""
        about, _ = self._about()
        try:
            with self._session() as session:
                answer = session.fetch_token(
                    about["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=begun.verifier,
                    timeout=PATIENCE_S,
                    allow_redirects=False,
                )
        except AuthlibBaseError as error:
            raise Unauthenticated("the provider takes the code for no good") from error
        except (OSError, ValueError) as error:  # what requests raises is one of the two
            raise _away(error) from error
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Unauthenticated("the provider did not say who it is")
        return self._name(self._claims(token, begun.nonce))

    def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        try:
            claims = self._decoded(token)
            _checks(self.provider, nonce).validate(claims)
        except (JoseError, ValueError) as error:
            why = type(error).__name__.removesuffix("Error")
            raise Unauthenticated(f"what the provider says of the person cannot be believed: {why}") from error
        audience, party = claims["aud"], claims.get("azp", self.provider.client_id)
        others = isinstance(audience, list) and len(audience) > 1 and "azp" not in claims
        if party != self.provider.client_id or others:
            raise Unauthenticated("what the provider says of the person is meant for somebody else")
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        """Errors: JoseError, ValueError."""
        try:
            return jwt.decode(token, self._about()[1], algorithms=ALGORITHMS).claims
        except (JoseError, ValueError):
            if not self._may_have_new_keys():
                raise
        return jwt.decode(token, self._about()[1], algorithms=ALGORITHMS).claims

    def _name(self, claims: Mapping[str, Any]) -> str:
        """By which `ms_principal` has the person. Errors: Unauthenticated."""
        claim = self.provider.claim
        name = claims.get(claim)
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_ID or not name.isprintable():
            raise Unauthenticated(f"the provider says no {claim!r} of the person")
        if claim == "email" and claims.get("email_verified") is not True:
            raise Unauthenticated("the provider has not verified the person's address")
        return name

    def _about(self) -> tuple[dict[str, Any], KeySet]:
        """What the provider says of itself, and its keys. Errors: Refused (503)."""
        with self._lock:
            if self._known is None or time.monotonic() > self._known[0] + KEEP_S:
                about = self._fetched(f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration")
                if about.get("issuer") != self.provider.issuer:
                    raise _away(f"it calls itself {about.get('issuer')!r}, not {self.provider.issuer!r}")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    _check_url(name, about.get(name))
                try:
                    keys = KeySet.import_key_set(self._fetched(about["jwks_uri"]))  # type: ignore[arg-type]
                except (JoseError, ValueError, KeyError, TypeError) as error:
                    raise _away(error) from error
                self._known = time.monotonic(), about, keys
            return self._known[1], self._known[2]

    def _may_have_new_keys(self) -> bool:
        """Forget its keys, unless they were fetched a moment ago."""
        with self._lock:
            if self._known is None or time.monotonic() < self._known[0] + AGAIN_S:
                return False
            self._known = None
            return True

    def _fetched(self, url: str) -> dict[str, Any]:
        try:
            with self._session() as session:
                answer = session.get(url, withhold_token=True, timeout=PATIENCE_S, allow_redirects=False)
                if answer.status_code != 200 or len(answer.content) > 1_000_000:
                    raise _away(f"{url} answers {answer.status_code}")
                found = answer.json()
        except (OSError, ValueError, AuthlibBaseError) as error:
            raise _away(error) from error
        if not isinstance(found, dict):
            raise _away(f"{url} is no JSON object")
        return found

    def _session(self) -> Any:
        return OAuth2Session(
            self.provider.client_id,
            self.provider.client_secret or None,
            scope=SCOPE,
            redirect_uri=self.provider.redirect_url,
            code_challenge_method="S256",
            token_endpoint_auth_method=None if self.provider.client_secret else "none",
        )


def _checks(provider: Provider, nonce: str) -> JWTClaimsRegistry:
    return JWTClaimsRegistry(
        leeway=LEEWAY_S,
        iss={"essential": True, "value": provider.issuer},
        sub={"essential": True},
        aud={"essential": True, "value": provider.client_id},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": nonce},
    )


def _check_url(name: str, value: Any) -> None:
    url = urlsplit(value if isinstance(value, str) else "")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
        raise _away(f"its {name} is no https:// address")


def _away(why: Exception | str) -> Refused:
    return Refused(PROVIDER_AWAY, f"the OpenID provider cannot be used now: {str(why)[:300]}")
