"""Tokens and people by the command line, and services that real processes refuse or agree to start."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import processes
import pytest
import requests
from servers import free_port

from engine.access import Role
from penstock.options import ROLES

LOCALHOST = Path(__file__).parents[1] / "programs" / "localhost.pem"


def test_a_token_is_made_listed_and_revoked(penstock: Any, sqlite_url: str, tmp_path: Path) -> None:
    made = penstock(
        *("token", "create", "loader", "--role", "operator", "--workflow", "load*", "--expires", "30d", "--json"),
        *("--db", sqlite_url),
    )
    told = json.loads(made.stdout)
    assert told["token"].startswith("pst_")
    assert (told["name"], told["role"], told["workflows"]) == ("loader", "operator", ["load*"])
    plain = penstock("token", "create", "ann", "--role", "admin", "--db", sqlite_url)
    assert plain.stdout.strip().startswith("pst_")
    assert len(plain.stdout.splitlines()) == 1, "nothing but the token, for scripts"
    listed = penstock("token", "list", "--db", sqlite_url)
    assert "loader" in listed.stdout
    assert "load*" in listed.stdout
    assert told["token"] not in listed.stdout
    found = json.loads(penstock("token", "list", "--json", "--db", sqlite_url).stdout)["tokens"]
    assert [one["name"] for one in found] == ["ann", "loader"]
    assert all(one["expires_ts"] for one in found), "ninety days unless told"
    revoked = penstock("token", "revoke", told["token_id"], "--reason", "left", "--db", sqlite_url)
    assert "loader" in revoked.stdout
    assert penstock("token", "revoke", told["token_id"], "--db", sqlite_url).exit_code == 4
    assert penstock("token", "revoke", "nobody", "--db", sqlite_url).exit_code == 3
    assert "revoked" in penstock("token", "list", "--db", sqlite_url).stdout
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as conn:
        dump = "\n".join(conn.iterdump())
    assert told["token"] not in dump
    assert plain.stdout.strip() not in dump
    assert "'left'" in dump


def test_the_command_line_knows_the_roles_there_are() -> None:
    assert list(ROLES) == [role.value for role in Role]


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "create", "x"),
        ("token", "create", "x", "--role", "king"),
        ("token", "create", "x", "--role", "viewer", "--expires", "soon"),
        ("token", "create", "x", "--role", "viewer", "--workflow", "a*b"),
        ("token", "create", "", "--role", "viewer"),
        ("principal", "set", "x"),
    ],
)
def test_wrong_usage(penstock: Any, sqlite_url: str, arguments: tuple[str, ...]) -> None:
    result = penstock(*arguments, "--db", sqlite_url)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_people_are_named_and_dropped(penstock: Any, sqlite_url: str) -> None:
    said = penstock("principal", "set", "ann@example.org", "--role", "author", "--workflow", "w", "--db", sqlite_url)
    assert said.stdout == "ann@example.org is author.\n"
    found = json.loads(penstock("principal", "list", "--json", "--db", sqlite_url).stdout)["principals"]
    assert [(one["name"], one["role"], one["workflows"]) for one in found] == [("ann@example.org", "author", ["w"])]
    assert penstock("principal", "drop", "ann@example.org", "--db", sqlite_url).exit_code == 0
    assert "dropped" in penstock("principal", "list", "--db", sqlite_url).stdout
    assert penstock("principal", "drop", "eve", "--db", sqlite_url).exit_code == 3


def test_the_same_by_a_service(penstock: Any, sqlite_url: str, tmp_path: Path) -> None:
    root = penstock("token", "create", "root", "--role", "admin", "--db", sqlite_url).stdout.strip()
    with processes.Service(tmp_path / "log", "serve", "--port", port := free_port(), "--auth", "--db", sqlite_url):
        door = ("--url", f"http://127.0.0.1:{port}", "--token", root)
        answer_of(f"http://127.0.0.1:{port}/healthz")
        made = json.loads(penstock("token", "create", "ann", "--role", "viewer", "--json", *door).stdout)
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert answer_of(f"http://127.0.0.1:{port}/flows", headers=headers).status_code == 200
        assert "ann" in penstock("token", "list", *door).stdout
        refused = penstock("token", "list", *door[:2], "--token", made["token"])
        assert (refused.exit_code, "takes the role admin" in refused.stderr) == (4, True)
        assert penstock("ps", *door[:2]).exit_code == 4
        assert penstock("token", "revoke", made["token_id"], *door).exit_code == 0
        assert answer_of(f"http://127.0.0.1:{port}/flows", headers=headers).status_code == 401
        assert penstock("principal", "set", "ann@example.org", "--role", "viewer", *door).exit_code == 0
        assert "ann@example.org" in penstock("principal", "list", *door).stdout
        assert penstock("principal", "drop", "eve", *door).exit_code == 3
    assert made["token"] not in (tmp_path / "log").read_text()


# --- real processes ---------------------------------------------------------------------------------------------------


def answer_of(url: str, **options: Any) -> requests.Response:
    deadline = time.monotonic() + 30
    while True:
        try:
            return requests.get(url, timeout=10, **options)
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("command", ["serve", "up"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_refuses_to_let_everybody_in(sqlite_url: str, command: str, host: str) -> None:
    ended = processes.run(command, "--host", host, "--port", 0, "--no-auth", "--db", sqlite_url)
    assert ended.returncode == 1
    assert "--behind-proxy" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["serve", "up"])
def test_it_refuses_to_take_tokens_in_clear_text(sqlite_url: str, command: str) -> None:
    ended = processes.run(command, "--host", "0.0.0.0", "--port", 0, "--db", sqlite_url)
    assert ended.returncode == 1
    assert all(remedy in ended.stderr for remedy in ("--tls-cert", "--behind-proxy", "127.0.0.1", "--clear-text"))
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "flags, words",
    [
        (("--tls-cert", "nowhere.pem"), "is no file"),
        (("--tls-key", __file__), "--tls-cert"),
        (("--tls-cert", __file__), "cannot be used"),
        (("--allow-origin", "*"), "origin"),
        (("--oidc-issuer", "https://id.example"), "--oidc-client"),
        (("--oidc-issuer", "http://id.example", "--oidc-client", "c", "--oidc-redirect", "https://x/"), "https://"),
    ],
)
def test_settings_that_do_not_fit_stop_the_start(sqlite_url: str, flags: tuple[str, ...], words: str) -> None:
    ended = processes.run("serve", "--port", 0, *flags, "--db", sqlite_url)
    assert ended.returncode == 1
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_out_in_the_world_it_asks_for_a_token_and_says_how_to_make_one(
    penstock: Any, sqlite_url: str, tmp_path: Path
) -> None:
    port = free_port()
    flags = ("--host", "0.0.0.0", "--port", port, "--clear-text", "--db", sqlite_url)
    with processes.Service(tmp_path / "log", "serve", *flags) as service:
        assert answer_of(f"http://127.0.0.1:{port}/healthz").status_code == 200
        assert answer_of(f"http://127.0.0.1:{port}/flows").status_code == 401
        assert "penstock token create NAME --role admin" in service.said("make the first one")
        service.said("clear text")
        token = penstock("token", "create", "ann", "--role", "viewer", "--db", sqlite_url).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        assert answer_of(f"http://127.0.0.1:{port}/flows", headers=headers).status_code == 200
        answer_of(f"http://127.0.0.1:{port}/flows", headers={"Authorization": f"Bearer {token}x"})
        assert service.terminate() == 0
    log = (tmp_path / "log").read_text()
    assert token not in log
    assert "pst_" not in log


def test_with_tls(penstock: Any, sqlite_url: str, tmp_path: Path) -> None:
    port = free_port()
    flags = ("--port", port, "--auth", "--tls-cert", LOCALHOST, "--db", sqlite_url)
    with processes.Service(tmp_path / "log", "serve", *flags):
        answer = answer_of(f"https://127.0.0.1:{port}/healthz", verify=str(LOCALHOST))
        assert answer.status_code == 200
        assert answer.headers["Strict-Transport-Security"]
        token = penstock("token", "create", "ann", "--role", "viewer", "--db", sqlite_url).stdout.strip()
        opened = requests.post(
            f"https://127.0.0.1:{port}/api/v1/session", json={"token": token}, verify=str(LOCALHOST), timeout=10
        )
        assert opened.headers["Set-Cookie"].startswith("__Host-penstock_session=")
        assert "Secure" in opened.headers["Set-Cookie"]
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"https://127.0.0.1:{port}/healthz", timeout=10)


def test_everything_at_once_with_tokens_loads_no_sample(sqlite_url: str, tmp_path: Path) -> None:
    with processes.Service(tmp_path / "log", "up", "--port", 0, "--auth", "--db", sqlite_url) as service:
        assert answer_of(f"{service.url}/flows").status_code == 401
        service.said("penstock token create NAME")
        assert requests.post(f"{service.url}/echo", timeout=10).status_code == 404
