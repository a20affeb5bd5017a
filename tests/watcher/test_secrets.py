"""Secrets by reference: looked up where the program runs, of the definition's references alone, and shown nowhere."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import rows, start, task
from sqlalchemy import insert
from waiting import until
from watching import Watch

from engine.database import Database
from engine.definition.secret_references import has_references, problem_of, replaced
from engine.keys import Key
from engine.preparing.refusals import Refused
from engine.tables import metadata, task_definition, task_option
from penstock import hookimpl, program
from watcher import masking
from watcher.secrets import Secrets

pytestmark = pytest.mark.by_turns
SECRET = "s3cr3t/of+the=shop"
SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SHOP_KEY", SECRET)
    monkeypatch.setattr(masking, "_used", frozenset())
    SEEN.clear()
    yield
    masking.install(())


@program
def pay(key: str, headers: dict[str, Any] | None = None, fail: bool = False, call: Any = None) -> dict[str, Any]:
    """Shows its secrets wherever it can."""
    SEEN.append((key, headers))
    logging.getLogger(__name__).warning("paying with %s", key)
    if fail:
        raise RuntimeError(f"the bank refuses {key}")
    return {"used": key, "in words": f"it was {key}!", key: [key]}


def ordered(db: Database, own: dict[str, Any], **wish: Any) -> Key:
    """A flow of one step with these parameters in its definition."""
    with db.transaction() as conn:
        conn.execute(insert(task_definition).values(task_id="w", task_seq=1, program="pay"))
        conn.execute(insert(task_option).values(task_id="w", task_seq=1, parameters=json.dumps(own)))
    return Key(start(db, **wish), 1)


def shown(db: Database) -> str:
    """Every row of every table."""
    return str([rows(db, table) for table in metadata.sorted_tables])


def test_a_task_is_given_its_secret_and_no_row_has_it(db: Database, watch: Watch) -> None:
    headers = {"Authorization": {"$secret": "env:SHOP_KEY"}, "Accept": "json"}
    key = ordered(db, {"key": {"$secret": "env:SHOP_KEY"}, "headers": headers})
    watch(pay)
    until(lambda: task(db, key).exec_status == 3)
    assert SEEN == [(SECRET, {"Authorization": SECRET, "Accept": "json"})]
    assert json.loads(task(db, key).result) == {"used": "***", "in words": "it was ***!", "***": ["***"]}
    assert json.loads(task(db, key).parameters)["key"] == {"$secret": "env:SHOP_KEY"}
    assert SECRET not in shown(db)


def test_errors_and_logs_do_not_show_it(db: Database, watch: Watch) -> None:
    key = ordered(db, {"key": {"$secret": "env:SHOP_KEY"}, "fail": True})
    watch(pay)
    until(lambda: task(db, key).exec_status == 2)
    assert task(db, key).error == "RuntimeError: the bank refuses ***"
    assert "paying with ***" in shown(db)
    assert SECRET not in shown(db)


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ({"key": "plain"}, {"key": {"$secret": "env:SHOP_KEY"}}),
        ({"key": "{{ params.x }}"}, {"x": {"$secret": "env:SHOP_KEY"}}),
        ({"key": "k", "headers": {"a": "{{ params.x }}"}}, {"x": {"$secret": "env:SHOP_KEY"}}),
        ({"headers": {"a": "b"}}, {"key": {"$secret": "env:SHOP_KEY"}}),
    ],
)
def test_what_a_registration_gives_is_no_reference(
    db: Database,
    watch: Watch,
    own: dict[str, Any],
    given: dict[str, Any],
) -> None:
    key = ordered(db, own, parameters=given)
    watch(pay)
    until(lambda: task(db, key).exec_status in (2, 3))
    assert SECRET not in str(SEEN)
    assert SECRET not in shown(db)


def test_a_secret_that_is_not_there_is_said_by_its_name(db: Database, watch: Watch) -> None:
    key = ordered(db, {"key": {"$secret": "env:NO_SUCH_THING"}})
    watch(pay)
    until(lambda: task(db, key).exec_status == 2)
    found = task(db, key)
    assert (found.reason, SEEN) == ("bad parameters", [])
    assert found.error == "parameter 'key': the variable 'NO_SUCH_THING' is not set where the task runs"


def test_a_plugin_may_know_secrets(db: Database, watch: Watch) -> None:
    class Vault:
        @hookimpl
        def penstock_programs(self) -> list[Any]:
            return [pay]

        @hookimpl
        def penstock_secret(self, reference: str) -> str | None:
            return SECRET if reference == "vault:shop/key" else None

    key = ordered(db, {"key": {"$secret": "vault:shop/key"}})
    watch(Vault())
    until(lambda: task(db, key).exec_status == 3)
    assert SEEN[0][0] == SECRET
    assert SECRET not in shown(db)


# --- where they come from ---------------------------------------------------------------------------------------------


def looked_up(secrets: Secrets, named: Any) -> Any:
    raw = {"key": {"$secret": named}}
    return secrets.filled(raw, raw)[0]["key"]


def test_files_below_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "key").write_text("inside\n")
    (tmp_path / "outside").write_text("outside")
    os.symlink(tmp_path / "outside", folder / "link")
    os.symlink(folder / "deep" / "key", folder / "same")
    (folder / "binary").write_bytes(b"\xff\xfe")
    (folder / "long").write_text("x" * 70_000)
    secrets = Secrets(folder=str(folder))
    assert looked_up(secrets, "file:deep/key") == "inside"
    assert looked_up(secrets, "file:same") == "inside", "as Kubernetes mounts them"
    for name in ("../outside", "link", str(tmp_path / "outside"), "deep", "nothing", "binary", "long", ".", "a\x00b"):
        with pytest.raises(Refused):
            looked_up(secrets, f"file:{name}")
    with pytest.raises(Refused, match="--secret-dir"):
        looked_up(Secrets(), "file:deep/key")


@pytest.mark.parametrize("name", ["PENSTOCK_DB", "PENSTOCK_TOKEN", "DB_PASS", "OTHER"])
def test_variables_that_are_not_for_tasks(name: str) -> None:
    environment = {name: "value of it", "SHOP_KEY": SECRET}
    secrets = Secrets(["SHOP_*", "PENSTOCK_*", "DB_*"], environment=environment)
    assert looked_up(secrets, "env:SHOP_KEY") == SECRET
    with pytest.raises(Refused, match="not for tasks here"):
        looked_up(secrets, f"env:{name}")


@pytest.mark.parametrize("named", ["", "env", "env:", "ENV:x", 7, None, ["env:x"], "env:{{ params.x }}", "a b:c"])
def test_what_names_no_secret(named: Any) -> None:
    assert problem_of(named) is not None
    with pytest.raises(Refused, match="parameter 'key'"):
        looked_up(Secrets(), named)


def test_a_plugin_that_fails_is_named_without_its_words() -> None:
    def broken(reference: str) -> str | None:
        raise ValueError(SECRET)

    with pytest.raises(Refused) as refused:
        looked_up(Secrets(ask=broken), "vault:x")
    assert "ValueError" in refused.value.words
    assert SECRET not in refused.value.words


def test_references_are_found_and_replaced_by_their_place() -> None:
    raw = {"a": [{"$secret": "env:X"}, {"b": {"$secret": "env:Y"}}], "c": {"$secret": "env:Z", "more": 1}}
    assert has_references(raw)
    assert not has_references(raw["c"])
    made = {"a": [{"$secret": "env:X"}, {"b": {"$secret": "env:Y"}}], "c": {"$secret": "env:Z", "more": 1}}
    assert replaced(raw, made, lambda named: named.lower()) == {
        "a": ["env:x", {"b": "env:y"}],
        "c": {"$secret": "env:Z", "more": 1},
    }
    assert replaced({"a": "{{ x }}"}, {"a": {"$secret": "env:X"}}, str) == {"a": {"$secret": "env:X"}}
