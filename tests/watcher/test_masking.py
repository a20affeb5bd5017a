"""Secrets do not reach what is stored of a try, whole or in part."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from factories import define, start, task
from waiting import attempts, settled
from watching import Watch

from engine.database import Database
from penstock import Call, program
from watcher import capture
from watcher.masking import Masker, secrets_of
from watcher.settlements import MAX_ERROR_CHARS

pytestmark = pytest.mark.by_turns

SECRET = "pa/ss wörd+4711"


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.b64encode(f"a:{SECRET}:b".encode()).decode(),
        base64.urlsafe_b64encode(f"ab{SECRET}".encode()).decode(),
    ],
)
def test_every_form_of_a_secret_is_masked(shown: str) -> None:
    masked = Masker([SECRET]).mask(f"before {shown} after")
    assert "***" in masked
    assert SECRET not in masked
    assert SECRET.encode() not in _decoded(masked)
    assert masked.startswith("before ")
    assert masked.endswith(" after")


def _decoded(text: str) -> bytes:
    word = text.split()[1]
    return base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)) if word.isalnum() else b""


def test_names_say_what_is_secret() -> None:
    environment = {"HOME": "/root", "GITHUB_TOKEN": "abcdef1", "DB_PASSWORD": "abcdef2", "AWS_SECRET": "abcdef3"}
    assert secrets_of(environment, "abcdef4", None) == {"abcdef1", "abcdef2", "abcdef3", "abcdef4"}


def test_short_values_mask_nothing() -> None:
    assert Masker(["a", ""]).mask("a plain text") == "a plain text"


def test_a_secret_that_holds_another_is_masked_whole() -> None:
    assert Masker(["abcdef", "abcdefghi"]).mask("abcdefghi") == "***"


def test_a_secret_on_the_cut_is_masked_before_it(db: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masked after the cut, the half of it that the cut leaves would be stored."""
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    half = len(SECRET) // 2

    @program("tells")
    def tells(call: Call) -> None:
        call.logger.info("%s%s", "x" * (capture.MAX_LINE - 24 - half - 5), SECRET * 3)
        raise ValueError("y" * (MAX_ERROR_CHARS // 2 - len("ValueError: ") - half) + SECRET + "y" * MAX_ERROR_CHARS)

    define(db, program="tells")
    flow = start(db)
    watch(tells)
    settled(db, (flow, 1))
    row, tried = task(db, (flow, 1)), attempts(db, (flow, 1))[-1]
    for stored in (row.error, tried.error, tried.traceback, tried.log):
        assert "***" in stored
        assert SECRET[:half] not in stored
        assert SECRET[-half:] not in stored
