"""A workflow as it stands: its rows, what they compile to, and the stamp that says whether somebody has changed it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from engine import jsontext
from engine.definition.reading import compile_rows, read_rows
from engine.definition.step import Definition
from engine.documents.rows import document_of
from engine.documents.shape import OF_PEOPLE, Document
from engine.errors import BadDefinition, UnknownWorkflow
from engine.queries.pages import instant

_SHORT: Final = 16


@dataclass(frozen=True)
class Standing:
    """A workflow that can run."""

    document: Document
    definition: Definition
    source_format: str | None = None
    changed_ts: datetime | None = None
    changed_by: str | None = None

    @property
    def version_id(self) -> str:
        return self.definition.version_id

    @property
    def stamp(self) -> str:
        return stamp_of(self.definition, self.document)

    def as_json(self) -> dict[str, Any]:
        return {
            "document": self.document.as_json(),
            "version_id": self.version_id,
            "stamp": self.stamp,
            "changed_ts": None if self.changed_ts is None else instant(self.changed_ts),
            "changed_by": self.changed_by,
            "source_format": self.source_format,
        }


def read_standing(conn: Connection, task_id: str) -> Standing:
    """Errors: UnknownWorkflow; BadDefinition for rows that cannot run."""
    steps, edges = read_rows(conn, task_id)
    if not steps:
        raise UnknownWorkflow(task_id)
    first = steps[0]
    return Standing(
        document_of(task_id, steps, edges),
        compile_rows(task_id, steps, edges),
        first["described_source_format"],
        first["described_changed_ts"],
        first["described_changed_by"],
    )


def find_standing(conn: Connection, task_id: str) -> Standing | BadDefinition | None:
    """The same, for whoever goes on without it."""
    try:
        return read_standing(conn, task_id)
    except BadDefinition as error:
        return error
    except UnknownWorkflow:
        return None


def current_version(conn: Connection, task_id: str) -> str | None:
    """The version that flows are made from now; None if there is none."""
    found = find_standing(conn, task_id)
    return found.version_id if isinstance(found, Standing) else None


def stamp_of(definition: Definition, document: Document) -> str:
    """What changes whenever the workflow does: the id of its version, and a hash of what is for people, which makes no
    other version."""
    said = document.as_json()
    of_people = jsontext.dumps([said.get(name) for name in OF_PEOPLE])
    return f"{definition.version_id}-{hashlib.sha256(of_people.encode()).hexdigest()[:_SHORT]}"


def fits(stamp: str, standing: Standing) -> bool:
    """Is that what the caller saw? The id of a version alone stands for it with whatever it says to people."""
    return stamp in (standing.version_id, standing.stamp)
