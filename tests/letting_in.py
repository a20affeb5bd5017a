"""Tokens for tests."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from engine.access import Actor
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.tokens import find, new_token
from engine.waiting.tokens import digest

ROOT = Actor("root")


def make_token(db: Database, role: str = "operator", name: str = "ann", **arguments: Any) -> str:
    token = new_token()
    carry_out(db, Ask("create_token", name, {"token_hash": digest(token), "role": role, **arguments}), ROOT)
    return token


def token_id_of(db: Database, token: str) -> str:
    with db.read() as conn:
        holder = find(conn, digest(token))
    assert holder is not None
    return holder.token_id


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def seen_from(client: TestClient, address: str) -> TestClient:
    """A client at this address, of a service that runs."""
    other = TestClient(client.app, client=(address, 1))
    other.portal = client.portal  # the event loop of the service
    return other


def let_in(client: TestClient, db: Database, role: str, **arguments: Any) -> TestClient:
    """A client of the same service, with a token of this role; the service asks for one from now on."""
    client.app.state.gate.needs_token = True  # type: ignore[attr-defined]
    other = TestClient(client.app, headers=bearer(make_token(db, role, **arguments)))
    other.portal = client.portal
    return other
