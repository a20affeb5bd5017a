"""Flags, environment and file: who wins, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from penstock import services
from penstock.cli import LazyGroup, cli
from penstock.failures import CannotStart
from penstock.sources import database_url, load_config
from register.settings import Settings

FLOWER = {"DB_USER": "u", "DB_PASS": "p", "DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_NAME": "n"}


@pytest.mark.parametrize("command", ["serve", "up"])
def test_what_the_service_is_told(penstock: Any, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    told: list[Settings] = []

    def settings(**options: Any) -> Settings:
        told.append(Settings(**options))
        raise CannotStart("that will do")

    monkeypatch.setattr(services, "server_settings", settings)
    penstock(command)
    penstock(command, "--no-compat", "--ui-origin", "http://ui", "--no-auth", PENSTOCK_PORT="1")
    penstock(command, PENSTOCK_COMPAT="0")
    assert [(one.compat, one.ui_origins, one.port, one.auth) for one in told] == [
        (True, (), 8000, None),
        (False, ("http://ui",), 1, False),
        (False, (), 8000, None),
    ]


def command_called(name: str) -> click.Command | None:
    return cli.get_command(click.Context(cli), name)


def config(text: str) -> None:
    Path("penstock.toml").write_text(text)


def which(penstock: Any, *arguments: object, **env: str) -> str:
    """The database that `ps` talks about: none of those here has tables, or answers."""
    return str(penstock("ps", *arguments, **env).stderr)


def test_flag_then_environment_then_file_then_default(penstock: Any) -> None:
    assert "penstock.db" in which(penstock)
    config('db = "sqlite:///file.db"')
    assert "file.db" in which(penstock)
    assert "env.db" in which(penstock, PENSTOCK_DB="sqlite:///env.db")
    assert "flag.db" in which(penstock, "--db", "sqlite:///flag.db", PENSTOCK_DB="sqlite:///env.db", **FLOWER)


def test_flowers_names_have_their_place_among_them(penstock: Any) -> None:
    assert "postgresql+psycopg://u:***@127.0.0.1:1/n" in which(penstock, **FLOWER)
    config('db = "sqlite:///file.db"')
    assert "127.0.0.1:1/n" in which(penstock, **FLOWER), "the environment wins over the file"
    assert "env.db" in which(penstock, PENSTOCK_DB="sqlite:///env.db", **FLOWER)
    flags = "serve", "--db-wait", 0, "-dbuser", "f", "-dbhost", "127.0.0.1", "-dbport", 1, "-dbname", "g"
    words = penstock(*flags, PENSTOCK_DB="sqlite:///env.db", **FLOWER).stderr
    assert "postgresql+psycopg://f:***@127.0.0.1:1/g" in words, "a flag wins over the environment"


def test_flowers_variables_that_are_missing_are_named(penstock: Any) -> None:
    result = penstock("watch", DB_USER="u", DB_HOST="h")
    assert result.exit_code == 1
    assert all(name in result.stderr for name in ("DB_PASS", "DB_PORT", "DB_NAME"))
    result = penstock("watch", **{**FLOWER, "DB_PORT": "x"})
    assert (result.exit_code, "DB_PORT 'x'" in result.stderr) == (1, True)
    assert database_url(None, "DEFAULT", {"dbkind": "mysql"}) == "mysql+pymysql://flower@localhost:3306/flower"


def test_a_password_is_not_shown(penstock: Any) -> None:
    words = which(penstock, "--db", "postgresql://u:secret@127.0.0.1:1/x")
    assert "secret" not in words
    assert "***" in words


@pytest.mark.parametrize(
    "text, named",
    [
        ('colour = "x"', "colour"),
        ('[watch]\ncolour = "x"', "[watch] has no setting colour"),
        ("[nonsense]\nx = 1", "nonsense"),
        ("[db]\nsamples = false", "db"),
        ("db =", "cannot be read"),
    ],
)
def test_what_nobody_knows_is_refused(penstock: Any, text: str, named: str) -> None:
    config(text)
    result = penstock("ps")
    assert result.exit_code == 1
    assert named in result.stderr
    assert "penstock.toml" in result.stderr


def test_a_file_that_is_not_there(penstock: Any) -> None:
    result = penstock("--config", "nope.toml", "ps")
    assert result.exit_code == 1
    assert "nope.toml" in result.stderr


def test_settings_are_named_as_their_flags(penstock: Any) -> None:
    config('[check]\nqueue = "fast"\nmax-active = ["2", "w=1"]\nworkers = 3\nlease = 1\nheartbeat = 0.9\n')
    assert load_config(None, LazyGroup.shown, command_called)["check"]["queues"] == ["fast"]
    found = json.loads(penstock("check", "--json").output)
    assert found[0]["level"] == "problem"
    assert "heartbeat_s" in found[0]["words"]
    found = json.loads(penstock("check", "--json", "--heartbeat", "0.2").output)
    assert found[0]["level"] == "ok"
    found = json.loads(penstock("check", "--json", "--heartbeat", "0.2", PENSTOCK_WORKERS="0").output)
    assert "workers" in found[0]["words"]


def test_lists_of_plugins(penstock: Any) -> None:
    config("plugins = []")
    assert load_config(None, LazyGroup.shown, command_called)["watch"]["plugins"] == ""
    config('plugins = ["a", "b"]')
    assert "b" in penstock("programs").stderr


def test_the_watchers_settings() -> None:
    made = services.watcher_settings({"workers": 3, "lease": 6.0, "max_active": ["2", "a=b=3"], "queues": ("x", "y")})
    assert (made.workers, made.lease_s, made.heartbeat_s) == (3, 6.0, 1.5)
    assert (made.max_active, made.max_active_of, made.queues) == (2, {"a=b": 3}, ("x", "y"))
    assert services.watcher_settings({"ignore_blocks": True}).policy.ignore_satisfies is False
    for wrong in ("0", "x", "w=", "w=-1", "²"):
        with pytest.raises(CannotStart):
            services.watcher_settings({"max_active": [wrong]})


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--workers", "0"], "workers"),
        (["--interval", "nan"], "interval_s"),
        (["--lease", "1", "--heartbeat", "0.5"], "heartbeat_s"),
        (["--queue", ""], "queue"),
        (["--max-active", "w=0"], "w=0"),
        (["--grace", "-1"], "grace_s"),
        (["--lease", "5", "--statement-timeout", "6"], "statement_s"),
        (["--stall", "1"], "stall_s"),
        (["--http-network", "10.0.0.1/8"], "http_networks"),
    ],
)
def test_a_watcher_refuses_what_would_do_harm(penstock: Any, arguments: list[str], words: str) -> None:
    result = penstock("watch", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_variable_that_sets_nothing_is_told(penstock: Any, sqlite_url: str) -> None:
    result = penstock(
        "check", "--json", "--db", sqlite_url, PENSTOCK_WORKER="3", PENSTOCK_COLOUR="x", PENSTOCK_LEASE="9"
    )
    words = [item["words"] for item in json.loads(result.output) if item["area"] == "settings"]
    assert "the variable PENSTOCK_WORKER sets nothing: did you mean PENSTOCK_WORKERS?" in words
    assert "the variable PENSTOCK_COLOUR sets nothing" in words
    assert not [line for line in words if "LEASE" in line]
    assert result.exit_code == 0
    told = penstock("watch", "--until-idle", "--db", sqlite_url, PENSTOCK_WORKER="3", PENSTOCK_HEARTBEAT_IN="thread")
    assert "did you mean PENSTOCK_WORKERS?" in told.stderr
