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
    flow_stat,
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

ANN = Actor("ann", door="cli")
DEFINITIONS = (task_definition, task_option, task_edge, workflow)
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
    """All rows, without what changes whenever somebody writes."""
    plain = {"changed_ts", "changed_by", "source", "source_format"}
    return [[{k: v for k, v in row._mapping.items() if k not in plain} for row in rows(db, t)] for t in DEFINITIONS]


def recompiled(db: Database, task_id: str) -> str:
    with db.read() as conn:
        found = reading.read_definitions(conn, [task_id])[task_id]
    assert isinstance(found, reading.Definition)
    return found.version_id


def comes_back(db: Database, task_id: str) -> None:
    """Through every kind of file, and the same rows again."""
    said, before = document(db, task_id), recompiled(db, task_id)
    for read in (said, text.read(text.as_toml(said), "toml"), text.read(text.as_json(said), "json")):
        assert read == said
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
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
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
