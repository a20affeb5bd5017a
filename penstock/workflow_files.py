"""Files that define workflows: found, read, checked, and what came of them shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from engine.definition.reading import Check
from engine.documents import text as texts
from engine.documents.script import read_script
from engine.documents.validating import Validated, validate
from engine.errors import BadDefinition, BadDocument, BadRequest, Problem
from penstock.doors.door import Door

TOML, JSON, SQL = texts.TOML, texts.JSON, texts.SQL
_FORMS: Final = {".toml": TOML, ".json": JSON, ".sql": SQL}


class File(NamedTuple):
    """A file with its text; `form` is toml, json or sql."""

    name: str
    form: str
    text: str

    @property
    def task_id(self) -> str:
        """Of TOML and JSON. Errors: BadDocument."""
        return texts.read(self.text, self.form).task_id


class BadFile(BadDefinition):
    """A file that cannot be applied: every line that is wrong, each with the file's name."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("?", "\n".join(problems), problems)
        self.args = ("\n".join(problems),)


def read_all(paths: Sequence[str]) -> list[File]:
    """Every file, and those of folders in the order of their names. Errors: BadRequest, BadFile."""
    found: list[File] = []
    for path in paths:
        if path == "-":
            with click.open_file("-", encoding="utf-8") as stream:
                found.append(File("standard input", TOML, stream.read()))
        elif Path(path).is_dir():
            inside = [one for one in sorted(Path(path).iterdir()) if one.suffix.lower() in _FORMS and one.is_file()]
            if not inside:
                raise BadRequest("FILES", f"the folder {path} holds no .toml, .json or .sql file")
            found += map(_read, inside)
        else:
            found.append(_read(Path(path)))
    return found


def _read(path: Path) -> File:
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        raise BadRequest("FILES", f"{path} ends in none of {', '.join(_FORMS)}, which says how it is written")
    try:
        return File(str(path), form, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BadFile([f"{path}: is not UTF-8"]) from error
    except OSError as error:
        raise BadFile([f"{path}: cannot be read: {error.strerror}"]) from error


def look(file: File, check: Check | None, *, backslashes: bool = False) -> Validated:
    """Everything that is wrong with a file, as far as it can be told without a database."""
    if file.form != SQL:
        return validate(file.text, file.form, check)
    try:
        read_script(file.text, backslashes=backslashes)
    except BadDocument as error:
        return Validated(None, None, error.found)
    return Validated(None, None, [])


def refuse_bad(files: Sequence[File], check: Check | None) -> None:
    """Before anything is written. Errors: BadFile."""
    problems = [shown(file, problem) for file in files if file.form != SQL for problem in look(file, check).problems]
    if problems:
        raise BadFile(problems)


def shown(file: File, problem: Problem) -> str:
    """As compilers say it: file:line: words."""
    line = f":{problem.line}" if problem.line is not None else ""
    return f"{file.name}{line}: {problem._replace(line=None)}"


def run_sql(door: Door, file: File, reason: str | None, dry_run: bool) -> list[dict[str, Any]]:
    """Errors: BadFile, and those of the door."""
    try:
        return door.run_script(file.text, reason, dry_run=dry_run)
    except BadDocument as error:
        raise BadFile([shown(file, problem) for problem in error.found]) from error


def show_applied(name: str, answer: Mapping[str, Any], dry_run: bool) -> None:
    from penstock.output import say

    changes = answer["changes"]
    if answer.get("is_deleted"):
        what = "deleted"
    elif answer["is_new"]:
        what = "new"
    else:
        what = "as it was" if changes["is_same"] else "changed"
    version = f"  version {answer['version_id'][:12]}" if answer["version_id"] else ""
    dry = " (dry run: nothing is written)" if dry_run else ""
    say(f"{answer['task_id']}: {what}{version}  {name}{dry}", bold=True)
    if not answer["is_new"] and not answer.get("is_deleted"):
        for line in lines_of(changes):
            say(f"  {line}")


def lines_of(changes: Mapping[str, Any]) -> list[str]:
    """A comparison as lines: + what came, - what went, ~ what changed."""
    lines: list[str] = []
    for sign, kind in (("+", "added"), ("-", "removed")):
        lines += [f"{sign} {_step(step)}  {step['program']}" for step in changes["steps"][kind]]
    for step in changes["steps"]["changed"]:
        lines += [f"~ {_step(step)}  {_change(name, change)}" for name, change in step["fields"].items()]
    for sign, kind in (("+", "added"), ("-", "removed")):
        lines += [f"{sign} edge {edge['before']} -> {edge['after']}{_extras(edge)}" for edge in changes["edges"][kind]]
    for edge in changes["edges"]["changed"]:
        ends = f"~ edge {edge['before']} -> {edge['after']}"
        lines += [f"{ends}  {_change(name, change)}" for name, change in edge["fields"].items()]
    return lines + [f"~ {_change(name, change)}" for name, change in changes["workflow"].items()]


def _step(step: Mapping[str, Any]) -> str:
    name = f" {step['name']}" if step.get("name") else ""
    return f"step {step['seq']}{name}"


def _extras(edge: Mapping[str, Any]) -> str:
    said = [f"{name} {value}" for name, value in edge.items() if name not in ("before", "after")]
    return f"  {', '.join(said)}" if said else ""


def _change(name: str, change: Mapping[str, Any]) -> str:
    return f"{name}: {_value(change['from'])} -> {_value(change['to'])}"


def _value(value: Any) -> str:
    return "(none)" if value is None else json.dumps(value, ensure_ascii=False)
