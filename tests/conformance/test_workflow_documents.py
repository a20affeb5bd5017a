"""A workflow as a document: written whole or not at all, read back as it was written, on each database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from factories import rows

from engine.access import Actor
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.documents import text
from engine.documents.script import run_script
from engine.documents.shape import Document
from engine.documents.sql import as_sql
from engine.documents.standing import read_standing
from engine.tables import (
    task_definition,
    task_edge,
    task_option,
    workflow,
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


@pytest.mark.by_turns
@pytest.mark.parametrize("name", NAMES)
def test_every_example_comes_back_as_it_was(db: Database, name: str) -> None:
    insert_rows(db, name)
    before = {task_id: document(db, task_id) for task_id in {row.task_id for row in rows(db, task_definition)}}
    for task_id, said in before.items():
        for read in (said, text.read(text.as_toml(said), "toml"), text.read(text.as_json(said), "json")):
            assert read == said
            apply(db, read.as_json())
            assert document(db, task_id) == said
        script = as_sql(said, backslashes=db.dialect.backslashes)
        assert db.transact(lambda conn, script=script: run_script(conn, db, script, by="ann")) == []
        assert document(db, task_id) == said
