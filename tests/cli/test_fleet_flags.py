"""What `penstock up` was told, as the flags of further watchers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from penstock import cli, fleet
from penstock.commands import up, watch


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The flags of a watcher beside a `penstock up` with these arguments; the services themselves do not start."""
    found: list[str] = []
    told = lambda **options: found.extend(fleet.flags_of(click.get_current_context(), watch.command))  # noqa: E731
    monkeypatch.setattr(up.command, "callback", told)

    def of(penstock: Any, *arguments: object, **env: str) -> list[str]:
        found.clear()
        result = penstock("up", "--db", "sqlite:///x.db", *arguments, **env)
        assert result.exit_code == 0, result.output
        return list(found)

    return of


def test_nothing_said_is_nothing_passed_on(penstock: Any, flags: Any) -> None:
    assert flags(penstock) == []
    assert flags(penstock, "--port", 0, "--no-samples", "--watchers", 4, "--no-check-programs") == []


def test_from_flags_environment_and_file(penstock: Any, flags: Any) -> None:
    Path("penstock.toml").write_text('[up]\nqueue = ["a", "b"]\nlease = 30\n')
    found = flags(penstock, "--workers", 3, "--no-plugins", "--retention", "2h", PENSTOCK_LABEL="crew")
    assert sorted(found) == [
        "--label=crew",
        "--lease=30.0",
        "--no-plugins",
        "--queue=a",
        "--queue=b",
        "--retention=7200.0",
        "--workers=3",
    ]


def test_a_watcher_understands_them(penstock: Any, flags: Any) -> None:
    given = ["--workers", 3, "--ignore-blocks", "--max-active", "w=2", "--queue", "a,b", "--label=-x", "--log-json"]
    found = flags(penstock, *given)
    context = watch.command.make_context("watch", ["--db=-", *found], parent=click.Context(cli.cli))
    assert context.params["workers"] == 3
    assert context.params["ignore_blocks"] is True
    assert context.params["max_active"] == ("w=2",)
    assert context.params["queues"] == ("a,b",)
    assert context.params["label"] == "-x"
    assert context.params["log_json"] is True
