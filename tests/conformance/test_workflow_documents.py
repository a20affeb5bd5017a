"""A workflow as a document: written whole or not at all, read back as it was written, on each database."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from explaining import explained
from factories import bypass_checks, define, flow, rows, sql, start, tasks, together
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from engine.access import Actor, Reach, Role
from engine.commands import Ask, carry_out
from engine.commands.asked_by_sql import carry_out_asked
from engine.database import Database
from engine.definition import reading
from engine.documents import kept, listing, replacing, text
from engine.documents.differences import difference
from engine.documents.live import live_flows
from engine.documents.script import run_script
from engine.documents.shape import Document
from engine.documents.sql import as_sql
from engine.documents.standing import read_standing
from engine.errors import (
    BadDefinition,
    BadDocument,
    BadRequest,
    Conflict,
    Forbidden,
    Outdated,
    UnfitProgram,
    UnknownVersion,
    UnknownWorkflow,
)
from engine.tables import (
    command,
    event,
    limit,
    metadata,
    task_definition,
    task_edge,
    task_option,
    workflow,
    workflow_version,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from example_rows import NAMES, insert_rows

pytestmark = pytest.mark.by_turns

ANN = Actor("ann", door="cli")
TABLES = (task_definition, task_option, task_edge, workflow)
LOAD = {
    "task_id": "load",
    "description": "Loads",
    "tags": ["daily"],
    "steps": [
        {"name": "fetch", "program": "Noop", "parameters": {"URL": "x"}},
        {"name": "store", "program": "Noop", "after": ["fetch"], "retry": {"max_attempts": 3, "delay_s": 5}},
    ],
}


def apply(db: Database, document: Any, _subject: str | None = None, **arguments: Any) -> Any:
    subject = _subject or (document["task_id"] if isinstance(document, dict) else "load")
    return carry_out(db, Ask("apply", subject, {"document": document, **arguments}), ANN)


def document(db: Database, task_id: str = "load") -> Document:
    with db.read() as conn:
        return read_standing(conn, task_id).document


def version(db: Database, task_id: str = "load") -> str:
    with db.read() as conn:
        return read_standing(conn, task_id).version_id


def definition_rows(db: Database) -> list[list[Any]]:
    """All rows, without what changes whenever somebody writes; the order of names in an object means nothing."""
    plain = {"changed_ts", "changed_by", "source", "source_format"}
    return [[{k: read(v) for k, v in row._mapping.items() if k not in plain} for row in rows(db, t)] for t in TABLES]


def read(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value.startswith("{") else value
    except ValueError:
        return value


def recompiled(db: Database, task_id: str) -> str:
    with db.read() as conn:
        found = reading.read_definitions(conn, [task_id])[task_id]
    assert isinstance(found, reading.Definition)
    return found.version_id


def comes_back(db: Database, task_id: str) -> None:
    """Through every kind of file, and the same rows again."""
    said, before = document(db, task_id), recompiled(db, task_id)
    for again in (text.read(text.as_toml(said), "toml"), text.read(text.as_json(said), "json")):
        assert again == said
    apply(db, said.as_json())
    once = definition_rows(db)
    assert document(db, task_id) == said
    script = as_sql(said, backslashes=db.dialect.backslashes)
    db.transact(lambda conn: run_script(conn, db, script, by="ann"))
    assert document(db, task_id) == said
    apply(db, text.as_toml(said), task_id, format="toml")
    assert definition_rows(db) == once
    with db.read() as conn:
        version_id = recompiled(db, task_id)
        content = kept.read_version(conn, task_id, version_id).content
    of_version = kept.document_of_content(content)
    replaced = db.transact(lambda conn: replacing.replace(conn, db, replacing.Wish(of_version)))
    assert replaced.version_id == version_id, "a version says all that flows are made of"
    mapped = any(step.input_mapping or step.output_mapping for step in said.steps)
    assert mapped or version_id == before  # the text of a mapping is part of a version, however it was spaced


@pytest.mark.by_turns
@pytest.mark.parametrize("name", NAMES)
def test_every_example_comes_back_as_it_was(db: Database, name: str) -> None:
    insert_rows(db, name)
    for task_id in {row.task_id for row in rows(db, task_definition)}:
        comes_back(db, task_id)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
NAMES_OF_PARAMETERS = st.text(st.characters(codec="utf-8", exclude_characters="\x00{"), max_size=8)
PARAMETERS = st.dictionaries(NAMES_OF_PARAMETERS, JSON | TEXTS, max_size=7)
SECONDS = st.floats(0.001, 1e6) | st.integers(1, 10**6).map(float)
EXPRESSIONS = st.sampled_from(["true", "result == 1", 'params.x == "a\\nb"', 'size("it\'s") > 2'])
MAPPING = st.dictionaries(NAMES_OF_PARAMETERS, EXPRESSIONS, max_size=3).map(json.dumps)
OPTIONS: dict[str, Any] = {
    "parameters": PARAMETERS.map(json.dumps),
    "queue": TEXTS,
    "max_attempts": st.integers(1, 2**31 - 1),
    "retry_delay_s": st.floats(0, 1e6),
    "retry_backoff": st.floats(1, 10),
    "retry_max_delay_s": st.floats(0, 1e6),
    "retry_jitter": st.floats(0, 1),
    "timeout_s": SECONDS,
    "limit_key": st.sampled_from(["printer", "office {params.office}"]),
    "input_mapping": MAPPING,
    "output_mapping": MAPPING,
    "executor": st.sampled_from(["process", "thread"]),
    "pre_program": TEXTS,
    "post_program": TEXTS,
    "rollback_program": TEXTS,
}
WORKFLOW: dict[str, Any] = {
    "parameters": PARAMETERS.map(json.dumps),
    "parameter_schema": st.sampled_from(["{}", '{"type": "object", "default": null}']),
    "flow_priority": st.integers(-20, 19),
    "failure_policy": st.sampled_from(["continue", "stop", "rollback"]),
    "timeout_s": SECONDS,
    "max_active_flows": st.integers(1, 2**31 - 1),
    "on_limit": st.sampled_from(["queue", "refuse", "cancel oldest"]),
    "result_mapping": MAPPING,
    "retention_s": SECONDS,
    "description": TEXTS,
    "owner": TEXTS,
    "tags": st.lists(TEXTS, max_size=3).map(json.dumps),
}


def some_of(columns: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=columns)


@st.composite
def workflows(draw: st.DrawFn) -> dict[Any, list[dict[str, Any]]]:
    """The rows of a workflow that can run, whatever it may say."""
    seqs = sorted(draw(st.sets(st.integers(-5, 12) | st.integers(2**62, 2**63 - 1), min_size=1, max_size=6)))
    names = draw(st.lists(TEXTS, min_size=len(seqs), max_size=len(seqs), unique=True))
    steps, options, edges = [], [], []
    for place, seq in enumerate(seqs):
        pairs = draw(st.dictionaries(st.integers(1, 5), st.tuples(NAMES_OF_PARAMETERS, st.none() | TEXTS), max_size=5))
        columns = {f"param{at}_{part}": pairs[at][part == "value"] for at in pairs for part in ("key", "value")}
        steps.append({"task_seq": seq, "program": draw(TEXTS), "task_priority": draw(st.integers(-20, 19)), **columns})
        extras = draw(some_of(OPTIONS))
        if draw(st.booleans()):
            extras["name"] = names[place]
        if "pre_program" in extras:
            extras["pre_parameters"] = draw(st.none() | PARAMETERS.map(json.dumps))
        if extras.get("executor") == "process":
            extras["is_exclusive"] = draw(st.none() | st.booleans())
        for before in draw(st.sets(st.sampled_from(seqs[:place]), max_size=3)) if place else ():
            kind = draw(st.sampled_from([None, None, "normal", "error", "timeout"]))
            edges.append({"task_seq": seq, "depends_task_seq": before, "kind": kind})
            edges[-1]["only_if"] = draw(st.none() | EXPRESSIONS)
            edges[-1]["is_default"] = draw(st.none() | st.just(False))
        if any(edge["task_seq"] == seq and edge["kind"] in (None, "normal") for edge in edges):
            extras["trigger_rule"] = draw(st.sampled_from([None, "all", "any", "all_done", "cleanup", "one_failed"]))
        if extras:
            options.append({"task_seq": seq, **extras})
    return {task_definition: steps, task_option: options, task_edge: edges, workflow: [draw(some_of(WORKFLOW))]}


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(found=workflows())
def test_whatever_rows_can_say_comes_back(db: Database, found: dict[Any, list[dict[str, Any]]]) -> None:
    with db.transaction() as conn:
        for table in reversed(metadata.sorted_tables):
            conn.execute(table.delete())
        for table, values in found.items():
            for row in values:
                conn.execute(insert(table).values(task_id="w", **row))
    comes_back(db, "w")


def test_a_document_becomes_rows_a_version_and_an_event(db: Database) -> None:
    applied = apply(db, LOAD)
    assert (applied["is_new"], applied["was"]) == (True, None)
    steps = rows(db, task_definition)
    assert [(row.task_seq, row.program, row.param1_key, row.param1_value) for row in steps] == [
        (1, "Noop", "URL", "x"),
        (2, "Noop", None, None),
    ]
    assert [(row.task_seq, row.depends_task_seq) for row in rows(db, task_edge)] == [(2, 1)]
    assert [(row.name, row.max_attempts, row.retry_delay_s) for row in rows(db, task_option)] == [
        ("fetch", None, None),
        ("store", 3, 5.0),
    ]
    [extras] = rows(db, workflow)
    assert (extras.description, extras.tags, extras.changed_by, extras.source) == ("Loads", '["daily"]', "ann", None)
    assert extras.changed_ts is not None
    assert [row.version_id for row in rows(db, workflow_version)] == [applied["version_id"]]
    [told] = rows(db, event)
    assert (told.what, json.loads(told.details)["workflow"]) == ("workflow applied", "load")
    assert flow(db, start(db, "load")).version_id == applied["version_id"]
    assert apply(db, LOAD)["changes"]["is_same"]
    assert len(rows(db, event)) == len(rows(db, workflow_version)) == 1, "nothing changed"


def test_replacing_leaves_nothing_of_what_was(db: Database) -> None:
    apply(db, LOAD)
    flow_id = start(db, "load")
    less = {"task_id": "load", "steps": [{"seq": 7, "program": "Other", "parameters": {"n": 1}}]}
    changes = apply(db, less)["changes"]
    assert [step["name"] for step in changes["steps"]["removed"]] == ["fetch", "store"]
    assert changes["steps"]["added"] == [{"seq": 7, "program": "Other", "parameters.n": 1}]
    assert changes["edges"]["removed"] == [{"before": 1, "after": 2}]
    assert changes["workflow"] == {
        "description": {"from": "Loads", "to": None},
        "tags": {"from": ["daily"], "to": None},
    }
    assert [[row.task_seq for row in rows(db, table)] for table in (task_definition, task_option, task_edge)] == [
        [7],
        [7],
        [],
    ]
    assert [row.program for row in tasks(db, flow_id)] == ["Noop", "Noop"], "flows keep what they were made from"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"name": "a", "program": "x", "after": ["b"]}, {"name": "b", "program": "x", "after": ["a"]}], "circle"),
        ([{"program": "x", "after": [9]}], "there is no step 9"),
        ([{"program": "x", "after": ["gone"]}], "there is no step 'gone'"),
        ([{"program": "x", "name": "a"}, {"program": "x", "name": "a"}], "'a', as that of another step"),
        ([{"program": "x", "seq": 2}, {"program": "x", "seq": 2}], "2, as that of another step"),
        ([{"program": "x", "seq": 2**63 - 1}, {"program": "x"}], "no column holds"),
        ([{"program": "x", "seq": 1}, {"program": "x", "after": [1, 1]}], "named twice"),
        ([{"program": "x", "input_mapping": {"a": "1 +"}}], "input_mapping"),
        ([{"program": "x", "executor": "thread", "is_exclusive": True}], "exclusive"),
        ([], "at least 1 item"),
        ([{"program": "x", "parameters": {"a": "\ud800"}}], "not JSON"),
        ([{"program": "x\x00"}], "no database can store"),
        ([{"program": "x", "priority": 20}], "less than or equal to 19"),
        ([{"program": "x", "priority": True}], "valid integer"),
    ],
)
def test_what_cannot_run_changes_nothing(db: Database, steps: Any, words: str) -> None:
    apply(db, LOAD)
    before = definition_rows(db)
    with pytest.raises(BadDefinition, match=words):
        apply(db, {"task_id": "load", "steps": steps})
    assert definition_rows(db) == before
    assert rows(db, command)[-1].outcome == "refused"


def test_programs_that_do_not_fit(db: Database) -> None:
    ask = Ask("apply", "load", {"document": LOAD})
    with pytest.raises(UnfitProgram, match=r"step 1 \('fetch'\): no"):
        carry_out(db, ask, ANN, lambda step: ["no"])
    assert rows(db, task_definition) == []


def test_a_change_that_somebody_else_made_is_not_overwritten(db: Database) -> None:
    first = apply(db, LOAD, only_new=True)
    with pytest.raises(Outdated, match="is there already") as refused:
        apply(db, LOAD, only_new=True)
    assert refused.value.current == first["stamp"]
    other = {**LOAD, "owner": "bob"}
    second = apply(db, other, if_version=first["stamp"])
    assert (second["version_id"], second["stamp"] != first["stamp"]) == (first["version_id"], True)
    with pytest.raises(Outdated, match="not as it was seen"):
        apply(db, LOAD, if_version=first["stamp"])
    apply(db, LOAD, if_version=first["version_id"])
    with pytest.raises(Outdated, match="not there"):
        apply(db, {**LOAD, "task_id": "new"}, if_version="*")
    sql(db, "UPDATE ms_task_edge SET depends_task_seq = 9")
    with pytest.raises(Outdated, match="cannot run"):
        apply(db, LOAD, if_version=first["version_id"])
    assert apply(db, LOAD, if_version="*")["was"] is None


def test_of_two_writers_who_saw_the_same_one_wins(db: Database) -> None:
    seen = apply(db, LOAD)["stamp"]

    def write(name: str) -> Any:
        try:
            return apply(db, {**LOAD, "description": name}, if_version=seen)["stamp"]
        except Outdated as error:
            return error

    answers = together(*[lambda name=f"writer {n}": write(name) for n in range(4)])  # type: ignore[misc]
    won = [answer for answer in answers if isinstance(answer, str)]
    assert len(won) == 1
    with db.read() as conn:
        assert read_standing(conn, "load").stamp == won[0]


def test_of_two_who_create_it_one_wins(db: Database) -> None:
    def write(steps: int) -> Any:
        try:
            return apply(db, {"task_id": "new", "steps": [{"program": "x"}] * steps}, only_new=True)
        except Outdated:
            return None

    answers = together(*[lambda n=n: write(n) for n in range(1, 5)])  # type: ignore[misc]
    [won] = [answer for answer in answers if answer is not None]
    assert version(db, "new") == won["version_id"]
    assert len(rows(db, task_definition)) == 1 + answers.index(won)


def test_a_writer_waits_for_one_who_has_not_committed(db: Database) -> None:
    apply(db, LOAD)
    written, go_on, done = threading.Event(), threading.Event(), []

    def slowly() -> None:
        with db.transaction() as conn:
            wish = replacing.Wish(text.check({**LOAD, "owner": "ann"}))
            done.append(replacing.replace(conn, db, wish).stamp)
            written.set()
            assert go_on.wait(30)

    slow = threading.Thread(target=slowly)
    slow.start()
    assert written.wait(30)
    seen = version(db)
    assert document(db).owner is None, "nothing of it is to be seen before the commit"
    late: list[Any] = []
    other = threading.Thread(target=lambda: late.append(apply(db, {**LOAD, "owner": "bob"}, if_version=seen)))
    other.start()
    go_on.set()
    slow.join(30)
    other.join(30)
    assert (document(db).owner, late[0]["was"]) == ("bob", seen)
    assert late[0]["changes"]["workflow"] == {"owner": {"from": "ann", "to": "bob"}}


def test_a_dry_run_writes_nothing(db: Database) -> None:
    would = apply(db, LOAD, dry_run=True)
    assert (would["is_new"], definition_rows(db)) == (True, [[], [], [], []])
    assert rows(db, workflow_version) == rows(db, event) == []
    assert apply(db, LOAD)["version_id"] == would["version_id"]


def test_a_row_of_kr_command_applies_a_document(db: Database) -> None:
    toml = 'task_id = "load"\n[[steps]]\nprogram = "Noop"\n'
    for document in (toml, "nonsense"):
        arguments = json.dumps({"document": document, "format": "toml"})
        sql(
            db,
            "INSERT INTO kr_command (verb, subject, arguments, asked_by) VALUES ('apply', 'load', :a, 'ann')",
            a=arguments,
        )
    carry_out_asked(db, "watcher-1", role=Role.AUTHOR)
    assert [row.outcome for row in rows(db, command)] == ["done", "refused"]
    [extras] = rows(db, workflow)
    assert (extras.source, extras.source_format, extras.changed_by) == (toml, "toml", "ann")
    with pytest.raises(BadRequest, match="is of workflow 'load'"):
        apply(db, toml, "other", format="toml")


def test_who_may_write(db: Database) -> None:
    for actor, error in (
        (Actor("eve", Role.OPERATOR), Forbidden),
        (Actor("eve", Role.AUTHOR, Reach(("other*",))), UnknownWorkflow),
    ):
        for ask in (Ask("apply", "load", {"document": LOAD}), Ask("delete_workflow", "load")):
            with pytest.raises(error):
                carry_out(db, ask, actor)
    assert rows(db, task_definition) == []


def test_a_workflow_is_taken_away_and_its_history_stays(db: Database) -> None:
    made = apply(db, LOAD)
    flow_id = start(db, "load")
    with pytest.raises(Conflict, match=flow_id):
        carry_out(db, Ask("delete_workflow", "load"), ANN)
    assert len(rows(db, task_definition)) == 2
    carry_out(db, Ask("delete_workflow", "load", {"force": True}, "not needed"), ANN)
    assert definition_rows(db) == [[], [], [], []]
    assert [row.version_id for row in rows(db, workflow_version)] == [made["version_id"]]
    assert flow(db, flow_id).version_id == made["version_id"]
    assert json.loads(rows(db, event)[-1].details) == {
        "workflow": "load",
        "was": made["version_id"],
        "note": "not needed",
    }
    with pytest.raises(UnknownWorkflow):
        carry_out(db, Ask("delete_workflow", "load"), ANN)
    assert apply(db, LOAD)["is_new"]


def test_versions_newest_first_by_pages(db: Database) -> None:
    made = [apply(db, {**LOAD, "timeout_s": n + 1})["version_id"] for n in range(17)]
    found: list[str] = []
    cursor = None
    with db.read() as conn:
        for _ in range(6):
            page, cursor = kept.list_versions(conn, "load", limit=3, cursor=cursor)
            found += [one.version_id for one in page]
        assert (found, cursor) == (made[::-1], None)
        with pytest.raises(UnknownVersion):
            kept.read_version(conn, "load", "zzz")
        with pytest.raises(UnknownVersion):
            kept.read_version(conn, "other", made[0])
        with pytest.raises(BadRequest, match="cursor"):
            kept.list_versions(conn, "load", cursor="nonsense")
        with pytest.raises(BadRequest, match="several"):
            kept.read_version(conn, "load", _shared(made))


def _shared(ids: list[str]) -> str:
    """How two of seventeen ids begin, at least: there are sixteen digits."""
    return next(digit for digit in "0123456789abcdef" if sum(one.startswith(digit) for one in ids) > 1)


def test_what_changed_field_by_field(db: Database) -> None:
    before = apply(db, LOAD)["version_id"]
    changed = {
        "task_id": "load",
        "failure_policy": "stop",
        "steps": [
            {"name": "fetch", "program": "Noop", "parameters": {"URL": "y", "n": 1}, "priority": 3},
            {
                "name": "store",
                "program": "Noop",
                "after": [{"step": "fetch", "kind": "error"}],
                "retry": {"delay_s": 5},
            },
            {"name": "mail", "program": "Mail"},
        ],
    }
    after = apply(db, changed)["version_id"]
    with db.read() as conn:
        found = difference(conn, "load")
        assert found == difference(conn, "load", before, after) == difference(conn, "load", before[:12])
        back = difference(conn, "load", after, before)
        alone = difference(conn, "load", newer=before)
    assert (found["from"], found["to"], found["is_same"]) == (before, after, False)
    assert found["steps"]["changed"] == [
        {
            "seq": 1,
            "name": "fetch",
            "fields": {
                "parameters.URL": {"from": "x", "to": "y"},
                "parameters.n": {"from": None, "to": 1},
                "priority": {"from": None, "to": 3},
            },
        },
        {"seq": 2, "name": "store", "fields": {"retry.max_attempts": {"from": 3, "to": None}}},
    ]
    assert found["steps"]["added"] == [{"seq": 3, "name": "mail", "program": "Mail"}]
    assert found["edges"]["changed"] == [
        {"before": 1, "after": 2, "fields": {"kind": {"from": None, "to": "error"}}},
    ]
    assert found["edges"]["added"] == [{"before": 1, "after": 3}], "mail follows, as the error's handler is no link"
    assert found["workflow"] == {"failure_policy": {"from": None, "to": "stop"}}
    assert [step["seq"] for step in back["steps"]["removed"]] == [3]
    assert (alone["from"], [step["seq"] for step in alone["steps"]["added"]]) == (None, [1, 2])


def test_the_flows_that_a_change_does_not_reach(db: Database) -> None:
    first = apply(db, LOAD)["version_id"]
    old = [start(db, "load") for _ in range(3)]
    second = apply(db, {**LOAD, "timeout_s": 60})["version_id"]
    new = [start(db, "load") for _ in range(22)]
    sql(db, "UPDATE kr_flow_stat SET flow_status = 3 WHERE task_flow_id = :id", id=new.pop())
    sql(db, "UPDATE kr_flow_stat SET version_id = NULL WHERE task_flow_id = :id", id=new[0])
    with explained(db) as plans, db.read() as conn:
        live = live_flows(conn, "load")
    assert live == {
        "count": 24,
        "is_more": False,
        "versions": [
            {"version_id": second, "flows": 20},
            {"version_id": first, "flows": 3},
            {"version_id": None, "flows": 1},
        ],
        "flows": (old + new)[:20],
    }
    index = "ix_kr_flow_stat_active" if db.can.partial_indexes else "ix_kr_flow_stat"
    assert all(index in plan for plan in plans), plans


def test_the_list_of_workflows(db: Database) -> None:
    apply(db, LOAD)
    define(db, "by hand")
    apply(db, {"task_id": "Load", "description": "Mehr LADEN", "owner": "bob", "steps": [{"program": "x"}]})
    sql(db, "UPDATE ms_workflow SET tags = 'nonsense' WHERE task_id = 'Load'")
    last = [start(db, "load") for _ in range(2)][-1]

    def listed(**which: Any) -> list[str]:
        with db.read() as conn:
            return [one["task_id"] for one in listing.list_workflows(conn, **which)[0]]

    assert listed() == ["Load", "by hand", "load"]
    assert listed(text="laden") == ["Load"]
    assert listed(text="LOAD") == ["Load", "load"]
    assert (listed(tag="daily"), listed(tag="dail"), listed(owner="bob")) == (["load"], [], ["Load"])
    assert listed(reach=Reach(("lo*",))) == ["load"]
    assert listed(cursor="Load", limit=1) == ["by hand"]
    with db.read() as conn:
        [first], cursor = listing.list_workflows(conn, limit=1)
        one = listing.list_workflows(conn, cursor="by hand")[0][0]
    assert (first["tags"], cursor) == ([], "Load")
    assert (one["live_flows"], one["last_flow"], one["version_id"]) == (2, last, version(db))
    assert one["changed_ts"].endswith("Z")


SCRIPT = """
-- what stands in a comment: '; DROP TABLE ms_workflow;
INSERT INTO ms_task_definition (task_id, task_seq, program) VALUES ('a', 1, 'x'), ('a', 2, 'x');
insert into ms_task_option(task_id, task_seq, name, parameters)
    values ('a', 1, 'it''s; -- so', '{"a": "%s ; select"}'); /* several
lines */ UPDATE ms_task_definition SET program = upper('y') WHERE task_id = 'a' AND task_seq IN (2);
DELETE FROM ms_task_edge WHERE task_id = 'a';
INSERT INTO ms_limit (scope, name, max_running) VALUES ('workflow', 'a', 3)
"""


def run(db: Database, script: str) -> Any:
    return db.transact(lambda conn: run_script(conn, db, script, by="ann"))


def test_a_script_defines_what_it_touches(db: Database) -> None:
    define(db, "untouched")
    define(db, "broken")
    sql(db, "INSERT INTO ms_task_edge (task_id, task_seq, depends_task_seq) VALUES ('broken', 1, 7)")
    [(task_id, older, newer)] = run(db, SCRIPT)
    assert (task_id, older, newer.version_id) == ("a", None, version(db, "a"))
    [option] = rows(db, task_option)
    assert (option.name, option.parameters) == ("it's; -- so", '{"a": "%s ; select"}')
    assert [row.program for row in rows(db, task_definition) if row.task_id == "a"] == ["x", "Y"]
    assert [row.max_running for row in rows(db, limit)] == [3]
    assert [row.version_id for row in rows(db, workflow_version)] == [newer.version_id]
    assert run(db, "UPDATE ms_task_definition SET program = 'x' WHERE program = 'x'") == []
    with pytest.raises(BadDefinition, match="edge 5 -> 1"):
        run(db, "INSERT INTO ms_task_edge (task_id, task_seq, depends_task_seq) VALUES ('a', 1, 5)")
    with pytest.raises(BadDocument, match="workflow 'a' has rows in ms_task_option, and no step"):
        run(db, "DELETE FROM ms_task_definition WHERE task_id = 'a'")
    assert version(db, "a") == newer.version_id


def test_what_a_script_changed_is_recorded_with_what_was_before(db: Database) -> None:
    run(db, SCRIPT)
    was = version(db, "a")
    run(db, "UPDATE ms_limit SET max_running = 5; UPDATE ms_task_definition SET program = 'z' WHERE task_id = 'a'")
    run(db, "DELETE FROM ms_limit WHERE name = 'a'")
    told = [(row.what, row.actor, json.loads(row.details)) for row in rows(db, event)]
    assert [what for what, *_ in told] == [
        "workflow applied",
        "limit set",
        "workflow applied",
        "limit set",
        "limit dropped",
    ]
    assert (told[2][2]["was"], told[2][2]["version_id"]) == (was, version(db, "a"))
    limits = [(details["before"], details["after"]) for what, _, details in told if what.startswith("limit")]
    seen = [tuple(side and side["max_running"] for side in pair) for pair in limits]
    assert seen == [(None, 3), (3, 5), (5, None)]
    assert {actor for _, actor, _ in told} == {"ann"}


@pytest.mark.by_turns
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("", "no statement"),
        ("-- only words", "no statement"),
        ("SELECT 1", "line 1: 'SELECT 1'"),
        ("\n\nDROP TABLE ms_workflow;", "line 3: 'DROP TABLE'"),
        ("UPDATE kr_flow_stat SET flow_status = 3", "'kr_flow_stat' is none of ms_task_definition"),
        ("DELETE FROM ms_token", "'ms_token'"),
        ("UPDATE ms_workflow SET owner = (SELECT token_hash FROM ms_token)", "'SELECT' is not for definitions"),
        ("INSERT INTO ms_workflow (task_id) VALUES ('a');\nINSERT INTO ms_workflow SELECT 1", "line 2: 'SELECT'"),
        ("UPDATE ms_workflow SET owner = load_file('/etc/passwd')", "the function 'load_file'"),
        ("UPDATE ms_workflow SET owner = pg_sleep (10)", "the function 'pg_sleep'"),
        ("UPDATE main.ms_workflow SET owner = 'x'", "'main'"),
        ("UPDATE ms_workflow, ms_token SET owner = 'x'", "',' may not stand behind ms_workflow"),
        ("DELETE FROM ms_workflow, ms_token WHERE 1 = 1", "',' may not stand behind"),
        ('UPDATE "ms_workflow" SET owner = 1', "means different things"),
        ("UPDATE ms_workflow SET owner = 'x", "does not end"),
        ("UPDATE ms_workflow SET owner = E'\\''", "right before a text"),
        ("UPDATE ms_workflow SET owner = 'x' --'", "write comments as"),
        ("UPDATE ms_workflow /*! , ms_token */ SET owner = 'x'", "write comments as"),
        ("WITH x AS (DELETE FROM ms_token) DELETE FROM ms_workflow", "'WITH x'"),
        ("DELETE FROM ms_workflow USING ms_token", "'USING' may not stand behind"),
        ("\nUPDATE ms_workflow SET colour = 'x'", "line 2: .*colour"),
        ("\n\nUPDATE ms_workflow SET owner = = 'x'", "line 3: .*="),
        ("INSERT INTO ms_workflow (task_id) VALUES ('load')", "line 1: "),
        ("UPDATE ms_task_definition SET task_priority = 99", "line 1: "),
        ("PRAGMA journal_mode = DELETE", "'PRAGMA journal_mode'"),
    ],
)
def test_a_script_runs_nothing_else(db: Database, script: str, words: str) -> None:
    apply(db, LOAD)
    before = definition_rows(db)
    with pytest.raises(BadDocument, match=words):
        run(db, script)
    assert definition_rows(db) == before


@pytest.mark.by_turns
def test_what_came_in_past_the_constraints_is_no_document(db: Database) -> None:
    apply(db, LOAD)
    bypass_checks(db, "UPDATE ms_task_definition SET task_priority = 99 WHERE task_seq = 1")
    with db.read() as conn, pytest.raises(BadDefinition, match="task_priority 99"):
        read_standing(conn, "load")
    assert apply(db, LOAD)["is_new"] is False
    assert document(db).as_json()["steps"][0]["seq"] == 1
    sql(db, "UPDATE ms_workflow SET tags = '3'")
    with db.read() as conn, pytest.raises(BadDefinition, match="no JSON list of texts"):
        read_standing(conn, "load")
