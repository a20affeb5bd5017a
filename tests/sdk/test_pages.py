"""What docs/sdk.md and docs/testing.md show runs as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import define
from pytest_runs import run

from engine.database import Database
from penstock import program
from register.server import Background

DOCS = Path(__file__).resolve().parents[2] / "docs"
pytestmark = pytest.mark.by_turns


def blocks(page: str) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert found
    return found


def test_the_page_of_the_clients(
    db: Database,
    service: Background,
    watch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @program("Load")
    def load(DAY: str) -> str:
        return f"loaded {DAY}"

    define(db, "load", program="Load")
    watch(load)
    monkeypatch.setenv("PENSTOCK_URL", service.url)
    for block in blocks("sdk.md"):
        exec(compile(block.replace("http://127.0.0.1:8000", service.url), "sdk.md", "exec"), {"__name__": "sdk"})  # noqa: S102 - the page is ours
    told = capsys.readouterr().out
    assert "FINISH loaded 2026-11-22" in told
    assert "conflict queue 'mail' is paused already" in told
    assert "30 0 " in told


def test_the_page_of_the_lab(tmp_path: Path) -> None:
    shown = blocks("testing.md")
    for number, block in enumerate(shown):
        (tmp_path / f"test_{number}.py").write_text(block)
    ended = run(tmp_path, text="def test_it() -> None: ...")
    assert ended.returncode == 0, ended.stdout
    assert len(re.findall(r"^test_\d+\.py \.+ ", ended.stdout, re.MULTILINE)) == len(shown), ended.stdout
