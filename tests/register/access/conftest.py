"""A service that asks for tokens."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from engine.database import Database


@pytest.fixture
def asked(db: Database, serve: Any) -> TestClient:
    """A client that shows nothing by itself, of a service that asks for tokens."""
    client: TestClient = serve(db, auth=True, echo=True)
    return client
