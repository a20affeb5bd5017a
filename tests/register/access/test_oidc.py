"""People log in at a real OpenID provider, over HTTP, with real signatures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from factories import rows
from letting_in import ROOT
from openid_provider import CLIENT, SECRET, OpenIDProvider
from servers import free_port

from engine import jsontext
from engine.access import Role
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.errors import BadRequest
from engine.tables import event, principal, token
from register.access.provider import Provider
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = [pytest.mark.by_turns, pytest.mark.timeout(60)]


class Site:
    """The service with its provider, and a browser for it."""

    def __init__(self, db: Database, **about: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        callback = f"{self.url}/api/v1/session/oidc/callback"
        self.provider = OpenIDProvider(callback)
        known = Provider(self.provider.issuer, CLIENT, SECRET, callback, **about)
        settings = Settings(port=self.port, auth=True, provider=known)
        self.service = Background(create_app(db, settings), settings)
        self.browser = requests.Session()
        self.browser.trust_env = False

    def log_in(self, onward: str = "/api/v1/session") -> requests.Response:
        """As a browser does, from redirect to redirect to the end."""
        where = {"next": onward}
        return self.browser.get(f"{self.url}/api/v1/session/oidc/login", params=where, timeout=20)

    def __enter__(self) -> Site:
        self.provider.__enter__()
        self.service.__enter__()
        return self

    def __exit__(self, *_: Any) -> None:
        self.browser.close()
        self.service.__exit__(None, None, None)
        self.provider.__exit__()


@pytest.fixture
def site(db: Database) -> Iterator[Site]:
    carry_out(db, Ask("set_principal", "ann@example.org", {"role": "author", "workflows": ["w"]}), ROOT)
    with Site(db) as made:
        yield made


def test_a_person_logs_in_and_is_who_the_table_says(db: Database, site: Site) -> None:
    answer = site.log_in()
    assert answer.url == f"{site.url}/api/v1/session"
    assert [hop.status_code for hop in answer.history] == [303, 307, 303]
    me = answer.json()
    assert (me["name"], me["role"], me["workflows"], me["oidc"]) == ("ann@example.org", "author", ["w"], True)
    headers = {"X-CSRF-Token": me["csrf"], "Origin": site.url}
    assert site.browser.delete(f"{site.url}/api/v1/session", headers=headers, timeout=20).status_code == 200
    assert site.browser.get(f"{site.url}/flows", timeout=20).status_code == 401


def test_a_person_who_is_dropped_is_out_at_once(db: Database, site: Site) -> None:
    site.log_in()
    assert site.browser.get(f"{site.url}/flows", timeout=20).status_code == 200
    carry_out(db, Ask("drop_principal", "ann@example.org"), ROOT)
    assert site.browser.get(f"{site.url}/flows", timeout=20).status_code == 401
    again = site.log_in()
    assert (again.status_code, again.json()["type"]) == (403, "urn:penstock:problem:forbidden")


def test_a_stranger_is_refused(db: Database, site: Site) -> None:
    site.provider.claims["email"] = "eve@example.org"
    assert site.log_in().status_code == 403
    assert rows(db, token) == []
    assert refusal(db) == ("eve@example.org", "forbidden", "GET /api/v1/session/oidc/callback")
    assert [row.name for row in rows(db, principal)] == ["ann@example.org"]


def refusal(db: Database) -> tuple[str | None, str, str]:
    """Who was refused, why and where, as the record of it says, which no answer waits for."""
    deadline = time.monotonic() + 10
    while not (found := [row for row in rows(db, event) if row.what == "access refused"]):
        assert time.monotonic() < deadline
    details = jsontext.loads_object(found[-1].details)
    return found[-1].actor, details["why"], details["operation"]


def test_a_stranger_has_the_default_role_where_there_is_one(db: Database) -> None:
    with Site(db, default_role=Role.VIEWER) as site:
        assert site.log_in().json()["role"] == "viewer"
    assert [(row.name, row.role) for row in rows(db, principal)] == [("ann@example.org", "viewer")]


def test_another_claim_may_be_the_name(db: Database) -> None:
    carry_out(db, Ask("set_principal", "1", {"role": "viewer"}), ROOT)
    with Site(db, claim="sub") as site:
        site.provider.claims = {}
        assert site.log_in().json()["name"] == "1"


LIES = [
    "wrong issuer",
    "wrong audience",
    "many audiences",
    "another party",
    "expired",
    "no expiry",
    "wrong nonce",
    "no nonce",
    "from the future",
    "another key",
    "a shared secret",
    "no signature",
    "changed",
    "no",
]


@pytest.mark.parametrize("lie", LIES)
def test_lies_let_nobody_in(db: Database, site: Site, lie: str) -> None:
    site.provider.lie = lie
    answer = site.log_in()
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:penstock:problem:unauthenticated"), answer.text
    assert rows(db, token) == []
    assert SECRET not in answer.text
    assert refusal(db)[:2] == ("anonymous", "unauthenticated")


@pytest.mark.parametrize("claims", [{"email_verified": False}, {}, {"email_verified": "true"}, {"email_verified": 1}])
def test_an_address_must_be_verified(db: Database, site: Site, claims: dict[str, Any]) -> None:
    site.provider.claims = {"email": "ann@example.org", **claims}
    assert site.log_in().status_code == 401
    assert rows(db, token) == []


@pytest.mark.parametrize("lie", ["another name", "keys in clear text"])
def test_a_provider_that_is_set_up_wrongly(site: Site, lie: str) -> None:
    site.provider.lie = lie
    answer = site.log_in()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:penstock:problem:provider-unavailable")
    assert answer.headers["Retry-After"]


def test_a_provider_that_is_away(site: Site) -> None:
    site.provider.__exit__()
    assert site.log_in().status_code == 503
    assert requests.get(f"{site.url}/healthz", timeout=20).status_code == 200


def come_back(site: Site, browser: requests.Session, **query: str) -> requests.Response:
    return browser.get(f"{site.url}/api/v1/session/oidc/callback", params=query, timeout=20)


def test_an_answer_belongs_to_the_browser_that_asked(db: Database, site: Site) -> None:
    begun = site.browser.get(f"{site.url}/api/v1/session/oidc/login", allow_redirects=False, timeout=20)
    there = requests.get(begun.headers["Location"], allow_redirects=False, timeout=20)
    with requests.Session() as other:
        assert other.get(there.headers["Location"], timeout=20).status_code == 401, "somebody else's link"
    assert come_back(site, site.browser, code="x", state="y").status_code == 401
    assert come_back(site, site.browser, code="x").status_code == 401
    site.browser.cookies.set("penstock_login", "bm90IEpTT04", path="/")
    assert come_back(site, site.browser, code="x", state="y").status_code == 401
    assert rows(db, token) == []


def test_a_code_is_good_once(db: Database, site: Site) -> None:
    begun = site.browser.get(f"{site.url}/api/v1/session/oidc/login", allow_redirects=False, timeout=20)
    cookie = begun.cookies["penstock_login"]
    back = requests.get(begun.headers["Location"], allow_redirects=False, timeout=20).headers["Location"]
    first, second = (
        requests.get(back, cookies={"penstock_login": cookie}, allow_redirects=False, timeout=20) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (303, 401)
    assert "HttpOnly" in first.headers["Set-Cookie"]


def test_keys_that_changed_are_fetched_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from joserfc.jwk import RSAKey

    from register.access import openid

    assert site.log_in().status_code == 200
    site.provider.key = RSAKey.generate_key(2048, {"kid": "two"}, private=True)
    asked = site.provider.asked.count("keys")
    assert site.log_in().status_code == 401, "they were fetched a moment ago"
    assert site.provider.asked.count("keys") == asked
    monkeypatch.setattr(openid, "AGAIN_S", 0.0)
    assert site.log_in().status_code == 200
    assert site.provider.asked.count("keys") == asked + 1


@pytest.mark.parametrize("onward", ["//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aX: y\r\n", ""])
def test_nobody_is_sent_elsewhere(site: Site, onward: str) -> None:
    assert site.log_in(onward).url == f"{site.url}/"


def test_a_provider_in_clear_text_is_refused() -> None:
    good = Provider("https://id.example", "c", "s", "https://p.example/api/v1/session/oidc/callback")
    assert repr(good) != "s"
    assert "client_secret" not in repr(good)
    for wrong in ({"issuer": "http://id.example"}, {"redirect_url": "http://p.example/"}, {"client_id": ""}):
        with pytest.raises(BadRequest, match="oidc"):
            replace(good, **wrong)
