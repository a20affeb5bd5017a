"""Workflows as files at the command line: applied, exported, validated, compared, listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import define, rows, start

from engine.database import Database
from engine.documents import text
from engine.tables import command, event, task_definition, workflow, workflow_version
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = pytest.mark.by_turns

LOAD = """\
task_id = "load"
description = "Loads"
tags = ["daily"]

[[steps]]
name = "fetch"
program = "EchoParamTimeSleep"
parameters = { SLEEP_TIME_SECOND = "0" }

[[steps]]
name = "store"
program = "Noop"
"""
BY_SQL = """\
-- a chain of two; texts may hold what statements are made of: '; --
INSERT INTO ms_task_definition (task_id, task_seq, program)
VALUES ('mail', 1, 'Noop'), ('mail', 2, 'Noop');
INSERT INTO ms_workflow (task_id, description) VALUES ('mail', 'it''s; -- 100% \\ done');
"""


@pytest.fixture
def load(away: Path) -> Path:
    path = away / "load.toml"
    path.write_text(LOAD)
    return path


def changed(path: Path, *pairs: tuple[str, str]) -> Path:
    said = path.read_text()
    for old, new in pairs:
        assert old in said
        said = said.replace(old, new)
    path.write_text(said)
    return path


def test_a_file_is_applied_exported_and_applied_again(penstock: Any, db: Database, url: str, load: Path) -> None:
    made = penstock("apply", load, "--db", url, "--reason", "first")
    assert made.exit_code == 0, made.output
    assert made.output.startswith("load: new  version ")
    [row] = rows(db, workflow)
    assert (row.source, row.source_format, row.tags) == (LOAD, "toml", '["daily"]')
    assert [(one.verb, one.door, one.reason) for one in rows(db, command)] == [("apply", "cli", "first")]
    for name in ("out.toml", "out.json", "out.sql"):
        assert penstock("export", "load", "--db", url, "-o", name).exit_code == 0
        again = penstock("apply", name, "--db", url)
        assert (again.exit_code, "load: as it was" in again.output or not again.output) == (0, True), again.output
    assert penstock("export", "load", "--db", url).output == Path("out.toml").read_text()
    assert json.loads(penstock("export", "load", "--db", url, "--format", "json").output)["task_id"] == "load"
    assert len(rows(db, workflow_version)) == 1


def test_what_changed_is_shown(penstock: Any, db: Database, url: str, load: Path) -> None:
    penstock("apply", load, "--db", url)
    first = rows(db, workflow_version)[0].version_id
    flow_id = start(db, "load")
    changed(load, ('SLEEP_TIME_SECOND = "0"', 'SLEEP_TIME_SECOND = "1"'), ('"Loads"', '"Loads more"'))
    load.write_text(load.read_text() + '\n[[steps]]\nname = "mail"\nprogram = "Noop"\n')
    would = penstock("diff", "load", load, "--db", url)
    dry = penstock("apply", load, "--db", url, "--dry-run")
    assert rows(db, workflow)[0].description == "Loads"
    applied = penstock("apply", load, "--db", url)
    for output in (would.output, dry.output, applied.output):
        assert '~ step 1 fetch  parameters.SLEEP_TIME_SECOND: "0" -> "1"' in output
        assert "+ step 3 mail  Noop" in output
        assert "+ edge 2 -> 3" in output
    assert '~ description: "Loads" -> "Loads more"' in applied.output
    last = penstock("diff", "load", "--db", url)
    assert "+ step 3 mail" in last.output
    assert flow_id in last.output
    diff = json.loads(penstock("diff", "load", first[:10], "--db", url, "--json").output)
    assert (diff["from"], diff["live"]["count"]) == (first, 1)
    assert penstock("diff", "load", "nope", "--db", url).exit_code == 3
    listed = json.loads(penstock("versions", "load", "--db", url, "--json").output)["versions"]
    assert [one["is_current"] for one in listed] == [True, False]
    assert f"* {listed[0]['version_id'][:16]}" in " ".join(penstock("versions", "load", "--db", url).output.split())
    assert penstock("versions", "nobody", "--db", url).exit_code == 3
    old = penstock("export", "load", "--version", first[:10], "--db", url).output
    assert [step.name for step in text.read(old, "toml").steps] == ["fetch", "store"]


def test_somebody_was_faster(penstock: Any, db: Database, url: str, load: Path) -> None:
    first = json.loads(penstock("apply", load, "--db", url, "--json").output)[0]
    changed(load, ('"Loads"', '"Loads more"'))
    assert penstock("apply", load, "--db", url, "--if-version", first["stamp"]).exit_code == 0
    late = penstock("apply", load, "--db", url, "--if-version", first["stamp"])
    assert (late.exit_code, "not as it was seen" in late.stderr) == (4, True)
    assert penstock("apply", load, "--db", url, "--if-version", first["version_id"]).exit_code == 0
    assert penstock("apply", load, load, "--db", url, "--if-version", "x").exit_code == 2


def test_everything_is_checked_before_anything_is_written(penstock: Any, db: Database, url: str, load: Path) -> None:
    bad = load.with_name("bad.toml")
    bad.write_text('task_id = "bad"\n[[steps]]\nprogram = "Noop"\nafter = ["gone"]\nretri = {}\n')
    worse = load.with_name("worse.json")
    worse.write_text('{"task_id": "worse", "steps": [{"program": "Nop"}]}')
    refused = penstock("apply", load, bad, worse, "--db", url)
    assert refused.exit_code == 4
    assert f"{bad}:5: steps[0].retri: is no name that is known here: did you mean retry?" in refused.stderr
    assert "no program is called 'Nop', did you mean 'Noop'?" in refused.stderr
    assert rows(db, task_definition) == []
    assert penstock("apply", load.parent, "--db", url, "--no-check-programs").exit_code == 4, "the folder"
    bad.unlink()
    assert penstock("apply", load.parent, "--db", url, "--no-check-programs").exit_code == 0
    assert {row.task_id for row in rows(db, workflow)} == {"load", "worse"}


def test_validate_needs_no_database(penstock: Any, load: Path) -> None:
    good = penstock("validate", load)
    assert (good.exit_code, "good" in good.output) == (0, True)
    bad = load.with_name("bad.toml")
    bad.write_text(
        'task_id = "bad"\n\n[[steps]]\nname = "a"\nprogram = "Noop"\nafter = ["b"]\n\n'
        '[[steps]]\nname = "b"\nprogram = "Noop"\nafter = ["a", "c"]\n'
    )
    found = penstock("validate", bad)
    assert (found.exit_code, found.output) == (4, f"{bad}:11: steps[1].after[1]: there is no step 'c'\n")
    changed(bad, ('["a", "c"]', '["a"]'))
    assert "circle" in penstock("validate", bad).output
    changed(bad, ('["a"]', '[{ step = "a", only_if = "1 +" }]'), ('after = ["b"]\n', "timeout_s = 0\n"))
    [told] = json.loads(penstock("validate", bad, "--json").output)
    assert [(one["where"], one["line"]) for one in told["problems"]] == [("steps[0].timeout_s", 6)]
    changed(bad, ("timeout_s = 0", "timeout_s = 1"))
    [told] = json.loads(penstock("validate", bad, "--json").output)
    assert [(one["where"], one["line"]) for one in told["problems"]] == [("steps[1]", 8)]
    script = load.with_name("x.sql")
    script.write_text("DROP TABLE ms_workflow;\nSELECT 1;\n")
    found = penstock("validate", script)
    assert [line.partition(": ")[0] for line in found.output.splitlines()] == [f"{script}:1", f"{script}:2"]
    assert penstock("validate", load, "--no-check-programs").exit_code == 0
    odd = load.with_name("x.yaml")
    odd.write_text("")
    assert penstock("validate", odd).exit_code == 2


def test_sql_is_one_transaction(penstock: Any, db: Database, url: str, away: Path) -> None:
    file = away / "mail.sql"
    file.write_text(BY_SQL.replace(" \\", " \\\\") if db.dialect.backslashes else BY_SQL)
    made = penstock("apply", file, "--db", url, "--json")
    assert made.exit_code == 0, made.output
    [answer] = json.loads(made.output)
    assert (answer["task_id"], answer["is_new"]) == ("mail", True)
    assert rows(db, workflow)[0].description == "it's; -- 100% \\ done"
    assert [row.version_id for row in rows(db, workflow_version)] == [answer["version_id"]]
    assert [row.what for row in rows(db, event)] == ["workflow applied"]
    file.write_text("DELETE FROM ms_task_definition WHERE task_id = 'mail';")
    left = penstock("apply", file, "--db", url)
    assert (left.exit_code, "no step in ms_task_definition" in left.stderr) == (4, True)
    file.write_text(file.read_text() + "\nDELETE FROM ms_workflow WHERE task_id = 'mail';")
    assert "mail: deleted" in penstock("apply", file, "--db", url, "--dry-run").output
    assert len(rows(db, task_definition)) == 2
    assert "mail: deleted" in penstock("apply", file, "--db", url).output
    assert rows(db, task_definition) == rows(db, workflow) == []


def test_the_list_of_workflows(penstock: Any, db: Database, url: str, load: Path) -> None:
    assert penstock("workflows", "--db", url).exit_code == 0
    penstock("apply", load, "--db", url)
    define(db, "by hand")
    flow_id = start(db, "load")
    assert flow_id in penstock("workflows", "--db", url).output
    listed = json.loads(penstock("workflows", "--db", url, "--json").output)
    assert [one["task_id"] for one in listed["workflows"]] == ["by hand", "load"]
    page = json.loads(penstock("workflows", "--db", url, "--json", "-n", 1).output)
    rest = json.loads(penstock("workflows", "--db", url, "--json", "--cursor", page["next"]).output)
    assert [one["task_id"] for one in rest["workflows"]] == ["load"]
    found = json.loads(penstock("workflows", "--db", url, "--json", "--tag", "daily").output)["workflows"]
    assert [one["task_id"] for one in found] == ["load"]


def test_bad_input_is_told_in_one_line(penstock: Any, db: Database, url: str, away: Path) -> None:
    file = away / "x.toml"
    file.write_bytes(b"\xff")
    for said in (penstock("apply", file, "--db", url), penstock("export", "nobody", "--db", url)):
        assert said.exit_code in (3, 4)
        assert "Traceback" not in said.stderr
    assert penstock("apply", away / "missing.toml", "--db", url).exit_code == 2
    (away / "empty").mkdir()
    assert penstock("apply", away / "empty", "--db", url).exit_code == 2
    file.write_text("a = " + "[" * 100_000)
    assert penstock("apply", file, "--db", url).exit_code == 4


@pytest.fixture
def service(db: Database) -> Iterator[str]:
    settings = Settings(port=0)
    with Background(create_app(db, settings), settings) as server:
        yield server.url


def test_either_door_gives_the_same(penstock: Any, db: Database, url: str, service: str, load: Path) -> None:
    penstock("apply", load, "--url", service)
    first = rows(db, workflow_version)[0].version_id
    changed(load, ('name = "store"', 'name = "keep"'), ('"Loads"', '"Keeps"'))
    later = load.read_text()
    said = []
    for door in (["--db", url], ["--url", service]):
        load.write_text(later)
        would = penstock("diff", "load", load, "--json", *door).output
        dry = penstock("apply", load, "--dry-run", "--json", *door).output
        changed(load, ("tags", "# tags"))
        diff = penstock("diff", "load", first[:9], load, "--json", *door).output
        said.append([would, dry, diff])
    assert said[0] == said[1]
    assert json.loads(said[0][0])["workflow"] == {"description": {"from": "Loads", "to": "Keeps"}}
    load.write_text(later)
    assert "~ step 2 store" not in penstock("apply", load, "--url", service).output
    looks: list[tuple[Any, ...]] = [("workflows",), ("versions", "load"), ("diff", "load"), ("export", "load")]
    looks += [("export", "load", "--version", first[:9]), ("diff", "load", first, first), ("versions", "nobody")]
    for look in looks:
        here, there = (penstock(*look, "--json", *door) for door in (["--db", url], ["--url", service]))
        assert here.exit_code == there.exit_code, look
        assert here.output == there.output or here.exit_code, look
    stale = penstock("apply", load, "--if-version", first, "--url", service)
    assert (stale.exit_code, "not as it was seen" in stale.stderr) == (4, True)
    script = load.with_name("x.sql")
    script.write_text("DELETE FROM ms_task_edge WHERE task_id = 'load';")
    refused = penstock("apply", script, "--url", service)
    assert (refused.exit_code, "--db" in refused.stderr) == (4, True)
    assert penstock("delete-workflow", "load", "--url", service).exit_code == 0
    assert rows(db, task_definition) == []
