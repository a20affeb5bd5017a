"""A small OpenID provider, served over HTTP by a thread of the tests; it can be told to lie."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from servers import free_port
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "penstock", "the-provider-gave-this"


class OpenIDProvider:
    """Lets everybody in who comes. `claims` are those of the next person; `lie` spoils an answer on purpose."""

    def __init__(self, redirect_url: str) -> None:
        self.redirect_url = redirect_url
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.key = RSAKey.generate_key(2048, {"kid": "one"}, private=True)
        self.claims: dict[str, Any] = {"email": "ann@example.org", "email_verified": True}
        self.lie = ""
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        routes = [
            Route("/.well-known/openid-configuration", self._about),
            Route("/keys", self._keys),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), host="127.0.0.1", port=self.port, log_config=None, ws="none", lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> OpenIDProvider:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    async def _about(self, request: Request) -> Response:
        self.asked.append("about")
        return JSONResponse(
            {
                "issuer": "https://evil.example" if self.lie == "another name" else self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": "http://keys.example/" if self.lie == "keys in clear text" else f"{self.issuer}/keys",
            }
        )

    async def _keys(self, request: Request) -> Response:
        self.asked.append("keys")
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        given = dict(request.query_params)
        assert given["client_id"] == CLIENT
        assert given["redirect_uri"] == self.redirect_url
        assert given["response_type"] == "code"
        assert given["code_challenge_method"] == "S256"
        assert "openid" in given["scope"].split()
        if self.lie == "no":
            return RedirectResponse(
                f"{self.redirect_url}?{urlencode({'error': 'access_denied', 'state': given['state']})}"
            )
        code = secrets.token_urlsafe(16)
        self._codes[code] = given
        return RedirectResponse(f"{self.redirect_url}?{urlencode({'code': code, 'state': given['state']})}")

    async def _token(self, request: Request) -> Response:
        given = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        begun = self._codes.pop(given.get("code", ""), None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(given["code_verifier"].encode()).digest()).decode().rstrip("=")
        fits = begun is not None and begun["code_challenge"] == proof and given["redirect_uri"] == self.redirect_url
        if not fits or request.headers["authorization"] != f"Basic {basic}":
            return JSONResponse({"error": "invalid_grant"}, 400)
        assert begun is not None
        answer = {"access_token": "x", "token_type": "Bearer", "id_token": self._signed(begun["nonce"])}
        return JSONResponse(answer)

    def _signed(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": "1", "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": nonce}
        claims |= self.claims
        claims |= {
            "wrong issuer": {"iss": "https://evil.example"},
            "wrong audience": {"aud": "another"},
            "many audiences": {"aud": [CLIENT, "another"]},
            "another party": {"aud": [CLIENT, "another"], "azp": "another"},
            "expired": {"exp": now - 100},
            "wrong nonce": {"nonce": "x"},
            "from the future": {"iat": now + 1_000},
        }.get(self.lie, {})
        if self.lie == "no expiry":
            del claims["exp"]
        if self.lie == "no nonce":
            del claims["nonce"]
        if self.lie == "another key":
            return jwt.encode({"alg": "RS256", "kid": "one"}, claims, RSAKey.generate_key(2048))
        if self.lie == "a shared secret":
            key = OctKey.import_key(SECRET * 2)
            return jwt.encode({"alg": "HS256", "kid": "one"}, claims, key)
        signed = jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)
        if self.lie == "no signature":
            head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
            return f"{head}.{signed.split('.')[1]}."
        if self.lie == "changed":
            head, body, signature = signed.split(".")
            text = base64.urlsafe_b64decode(body + "==").replace(b"ann@", b"bob@")
            return f"{head}.{base64.urlsafe_b64encode(text).decode().rstrip('=')}.{signature}"
        return signed


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
