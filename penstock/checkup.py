"""Everything that is wrong with an installation, found in one go: settings, database, schema, programs, definitions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine import migrate
from engine.database import Database, open_database
from engine.definition.reading import Definition, read_definitions
from engine.definition.template_marks import templates_in
from engine.documents.listing import every_workflow
from engine.errors import BadDefinition, PenstockError
from engine.schema import REVISION, verify
from penstock import services
from penstock.access import told_where
from penstock.environment import known_variables, unknown_variables
from penstock.loading import sorted_out
from programs.allowed import brief
from programs.catalogue import Catalogue
from programs.errors import CatalogueError, ParameterError
from programs.parameters import check as check_parameters


@dataclass(frozen=True)
class Finding:
    """One thing found: `level` is ok, warning or problem; `remedy` says what to do about it."""

    area: str
    level: str
    words: str
    remedy: str = ""


def examine(db_url: str, knobs: dict[str, Any], plugins: Any, no_plugins: bool) -> list[Finding]:
    """All findings, in the order in which a person would mend them."""
    found = [*_settings(knobs)]
    found += [Finding("settings", "warning", words) for words in unknown_variables(os.environ, known_variables())]
    programs, findings = _programs(plugins, no_plugins)
    found += findings
    try:
        db = open_database(db_url, role="check")
    except PenstockError as error:
        return [*found, Finding("database", "problem", str(error))]
    try:
        usable = list(_database(db))
        found += usable
        if all(item.level != "problem" for item in usable):
            found += _definitions(db, programs)
    finally:
        db.close()
    return found


def _settings(knobs: dict[str, Any]) -> Iterator[Finding]:
    try:
        services.watcher_settings(knobs)
        yield Finding("settings", "ok", "the watcher's settings fit together")
    except PenstockError as error:
        yield Finding("settings", "problem", str(error))


def _programs(plugins: Any, no_plugins: bool) -> tuple[Catalogue | None, list[Finding]]:
    try:
        found = services.catalogue(plugins, no_plugins)
    except CatalogueError as error:
        return None, [Finding("programs", "problem", problem) for problem in error.problems]
    return found, [Finding("programs", "ok", f"{len(found)} programs"), *_plugins(plugins, no_plugins)]


def _plugins(plugins: Any, no_plugins: bool) -> Iterator[Finding]:
    """Those that are loaded, by name, version and hash."""
    for found in sorted_out(plugins, no_plugins)[0]:
        contents = found.contents
        words = f"{found.label}, " + (
            f"sha256:{contents.sha256}" if contents.sha256 else f"no hash: {contents.missing}"
        )
        if contents.changed:
            changed = f"{words}; changed since the installation: {brief(contents.changed)}"
            yield Finding("plugins", "warning", changed, f"pip install --force-reinstall {found.name}=={found.version}")
        else:
            yield Finding("plugins", "ok", words)


def _database(db: Database) -> Iterator[Finding]:
    for step in (_schema, _server):
        try:
            with told_where(db):
                yield from step(db)
        except PenstockError as error:
            yield Finding("database", "problem", str(error))
            return


def _schema(db: Database) -> Iterator[Finding]:
    verify(db)
    differences = migrate.differences(db)
    yield from (Finding("schema", "problem", line, "penstock db upgrade") for line in differences)
    if not differences:
        yield Finding("schema", "ok", f"{db.url.render_as_string()} is at revision {REVISION}, without differences")


def _server(db: Database) -> Iterator[Finding]:
    can = db.probe()
    if can.row_locks and not can.skip_locked:
        words = "does not skip locked rows: watchers wait for each other, correct but slower"
        yield Finding("database", "warning", words, "MariaDB 10.6, MySQL 8.0.1, PostgreSQL 9.5 or later")
    with db.read() as conn:
        found = list(db.dialect.warnings(conn))
    yield from (Finding("database", "warning", item.words, item.remedy) for item in found)
    yield Finding("database", "ok", "answers")


def _definitions(db: Database, programs: Catalogue | None) -> Iterator[Finding]:
    with db.read() as conn:
        found = read_definitions(conn, [row.task_id for row in every_workflow(conn)])
    problems = 0
    for name, definition in found.items():
        for finding in _definition(name, definition, programs):
            problems += 1
            yield finding
    yield Finding("definitions", "ok", f"{len(found)} workflows, {problems} problems")


def _definition(name: str, definition: Definition | BadDefinition, programs: Catalogue | None) -> Iterator[Finding]:
    if isinstance(definition, BadDefinition):
        yield Finding("definitions", "problem", str(definition))
        return
    for step in definition.steps if programs is not None else ():
        assert programs is not None
        where = f"workflow {name!r}, {step.label}"
        if wrong := services.program_check(programs)(step):
            yield from (Finding("definitions", "problem", f"{where}: {problem}") for problem in wrong)
            continue
        later = {*templates_in(step.parameters), *step.mapped}
        try:
            check_parameters(programs[step.program].program, step.parameters)
        except ParameterError as error:  # the request may bring what is missing, so it is no problem yet
            if not later:
                yield Finding("definitions", "warning", f"{where}: {error}", "or give it when registering")
