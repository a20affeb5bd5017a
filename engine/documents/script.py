"""SQL files that define workflows: read statement by statement, so that nothing else is run.

A script may hold INSERT, UPDATE and DELETE on the definition tables, without sub-queries and with few functions, and
comments. It is one transaction, in which every workflow that it touched is checked as a whole before the commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from engine import history
from engine.database import Database
from engine.definition import versions
from engine.definition.reading import Check, Definition, read_definitions
from engine.dialects import Failure
from engine.documents import script_limits
from engine.documents.comparing import compare
from engine.documents.script_words import Word, statements_in
from engine.errors import BadDefinition, BadDocument, Problem
from engine.tables import limit, task_definition, task_edge, task_option, workflow

_DEFINES: Final = (task_definition, task_option, task_edge, workflow)
TABLES: Final = tuple(table.name for table in (*_DEFINES, limit))
VERBS: Final[Mapping[str, Sequence[str]]] = {
    "insert": ("insert", "into"),
    "update": ("update",),
    "delete": ("delete", "from"),
}
_FOLLOWS: Final = {"insert": ("(", "values"), "update": ("set",), "delete": ("where", "")}
"""What may stand behind the name of the table, so that there is only one."""
_FOR_GOOD: Final = (Failure.POISON, Failure.DUPLICATE, Failure.FATAL, Failure.UNKNOWN)
_REFUSED: Final = frozenset(
    ("select", "with", "from", "join", "using", "returning", "union", "into", "table", "call", "exec", "execute")
)
_MAY_BE_CALLED: Final = frozenset(
    (
        *("values", "in", "and", "or", "not", "where", "set", "when", "then", "else", "conflict", "coalesce"),
        *("concat", "lower", "upper", "trim", "replace", "substr", "json_object", "json_array"),
    )
)


class Statement(NamedTuple):
    """One statement of a script, and the line on which it begins."""

    text: str
    line: int
    verb: str
    table: str


def read_script(script: str, *, backslashes: bool) -> list[Statement]:
    """The statements. `backslashes`: as the database reads texts. Errors: BadDocument, with each wrong line."""
    found: list[Statement] = []
    problems: list[Problem] = []
    for text, words in statements_in(script, backslashes=backslashes):
        wrong = [Problem("", word.line, word.problem) for word in words if word.problem]
        wrong = wrong or list(_problems(words))
        if wrong:
            problems += wrong[:1]
        else:
            size = len(VERBS[words[0].text])
            found.append(Statement(text, words[0].line, words[0].text, words[size].text))
    if not found and not problems:
        problems = [Problem("", None, "holds no statement")]
    if problems:
        raise BadDocument(None, problems)
    return found


def run_script(
    conn: Connection, db: Database, script: str, *, by: str, note: str | None = None, check: Check | None = None
) -> list[tuple[str, Definition | None, Definition | None]]:
    """Run a script in the caller's transaction. Shape: the workflows that it touched, by id, each with its definition
    before and after; None where there was, or is, none. Errors: BadDocument; BadDefinition and UnfitProgram for a
    workflow that it leaves unable to run. Nothing may be committed then."""
    statements = read_script(script, backslashes=db.dialect.backslashes)
    before, limits = _everything(conn), script_limits.read(conn)
    older = read_definitions(conn, before)
    for statement in statements:
        _execute(conn, db, statement)
    after = _everything(conn)
    touched = sorted(task_id for task_id in {*before, *after} if before.get(task_id) != after.get(task_id))
    newer = read_definitions(conn, touched, check)
    _refuse_broken(touched, after, newer)
    definitions = [found for found in newer.values() if isinstance(found, Definition)]
    if definitions:
        versions.store(conn, db, definitions)
    for task_id in touched:
        _record(conn, task_id, older.get(task_id), newer.get(task_id), by, note)
    script_limits.record(conn, limits, by, note)
    return [(task_id, _known(older.get(task_id)), _known(newer.get(task_id))) for task_id in touched]


def _execute(conn: Connection, db: Database, statement: Statement) -> None:
    """Errors: BadDocument, with the line, for what the database refuses for good."""
    try:
        conn.exec_driver_sql(statement.text, execution_options={"no_parameters": True})
    except DBAPIError as error:
        if db.dialect.failure(error) not in _FOR_GOOD:
            raise
        words = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0][:500]
        raise BadDocument(None, [Problem("", statement.line, words)]) from error


class _Undo(Exception):
    """Nothing of a dry run is kept."""


def run_sql(
    db: Database, script: str, by: str, note: str | None = None, check: Check | None = None, *, dry_run: bool = False
) -> list[dict[str, Any]]:
    """`run_script` in a transaction of its own. Shape: for each workflow that it touched what `apply` answers, with
    `is_deleted` for a stamp. Errors: those of `run_script`."""
    answers: list[dict[str, Any]] = []

    def work(conn: Connection) -> None:
        found = run_script(conn, db, script, by=by, note=note, check=check)
        answers[:] = [_answer(task_id, older, newer) for task_id, older, newer in found]
        if dry_run:
            raise _Undo

    with contextlib.suppress(_Undo):
        db.transact(work)
    return answers


def _answer(task_id: str, older: Definition | None, newer: Definition | None) -> dict[str, Any]:
    nothing = Definition(task_id)
    return {
        "task_id": task_id,
        "version_id": newer.version_id if newer else None,
        "was": older.version_id if older else None,
        "is_new": older is None,
        "is_deleted": newer is None,
        "changes": compare((older or nothing).content, (newer or nothing).content),
    }


def _everything(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all workflows, by workflow: what a script touched is what differs."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for place, table in enumerate(_DEFINES):
        for row in conn.execute(select(table).order_by(*table.primary_key)):
            found.setdefault(row.task_id, []).append((place, *row))
    return found


def _refuse_broken(touched: Sequence[str], after: Mapping[str, Any], newer: Mapping[str, Any]) -> None:
    problems: list[Problem] = []
    for task_id in touched:
        found = newer.get(task_id)
        if isinstance(found, BadDefinition):
            if len(touched) == 1:
                raise found
            problems.append(Problem("", None, str(found)))
        elif found is None and task_id in after:
            left = ", ".join(_DEFINES[place].name for place in sorted({row[0] for row in after[task_id]}))
            problems.append(
                Problem("", None, f"workflow {task_id!r} has rows in {left}, and no step in ms_task_definition")
            )
    if problems:
        raise BadDocument(None, problems)


def _known(found: Definition | BadDefinition | None) -> Definition | None:
    return found if isinstance(found, Definition) else None


def _record(conn: Connection, task_id: str, older: Any, found: Any, by: str, note: str | None) -> None:
    version = {"version_id": found.version_id} if isinstance(found, Definition) else {}
    was = older.version_id if isinstance(older, Definition) else None
    what = "workflow deleted" if found is None else "workflow applied"
    history.record(conn, [history.deed(what, by, note, workflow=task_id, was=was, **version)])


def _problems(words: Sequence[Word]) -> Iterator[Problem]:
    first = words[0]
    begins = VERBS.get(first.text)
    if begins is None or [word.text for word in words[: len(begins)]] != list(begins):
        shown = " ".join(word.shown for word in words[:2])
        yield Problem("", first.line, f"{shown!r}: only INSERT INTO, UPDATE and DELETE FROM may stand here")
        return
    rest = words[len(begins) :]
    if not rest or rest[0].text not in TABLES:
        shown = rest[0].shown if rest else "nothing"
        yield Problem("", first.line, f"{shown!r} is none of {', '.join(TABLES)}")
        return
    second = rest[1].text if len(rest) > 1 else ""
    if second not in _FOLLOWS[first.text]:
        shown = repr(rest[1].shown) if len(rest) > 1 else "the end"
        yield Problem(
            "", rest[1].line if len(rest) > 1 else first.line, f"{shown} may not stand behind {rest[0].shown}"
        )
    for word, following in zip(rest[1:], [*rest[2:], None], strict=False):
        if word.text in _REFUSED:
            yield Problem("", word.line, f"{word.shown!r} is not for definitions: write the values themselves")
        called = following is not None and following.text == "("
        if called and word.is_name and word.text not in _MAY_BE_CALLED:
            yield Problem("", word.line, f"the function {word.shown!r} is not for definitions: write the value itself")
