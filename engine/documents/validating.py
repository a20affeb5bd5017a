"""Everything that is wrong with a document, without a database: its shape, how its parts fit, and its programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from engine.definition.reading import Check
from engine.definition.step import Definition
from engine.documents.lines import Lines
from engine.documents.rows import rows_of
from engine.documents.shape import Document
from engine.documents.text import TOML, check, parse
from engine.errors import BadDefinition, BadDocument, Problem


class Validated(NamedTuple):
    """A document that was looked at; without problems it can be applied."""

    document: Document | None
    definition: Definition | None
    problems: list[Problem]

    def as_json(self) -> dict[str, Any]:
        return {
            "is_valid": not self.problems,
            "task_id": self.document.task_id if self.document else None,
            "version_id": self.definition.version_id if self.definition else None,
            "problems": [problem._asdict() for problem in self.problems],
        }


def validate(text: str, form: str, programs: Check | None = None) -> Validated:
    """`form` is toml or json; `programs` says which steps no installed program fits."""
    lines = Lines(text) if form == TOML else None
    document: Document | None = None
    try:
        document = check(parse(text, form), lines)
        definition = rows_of(document).compiled()
    except BadDocument as error:
        return Validated(document, None, [_with_line(problem, document, lines) for problem in error.found])
    except BadDefinition as error:
        assert document is not None
        return Validated(document, None, [_located(words, document, lines) for words in error.problems])
    misfits = _misfits(definition, programs) if programs is not None else ()
    return Validated(document, definition, [_located(words, document, lines) for words in misfits])


def _misfits(definition: Definition, programs: Check) -> Iterator[str]:
    for step in definition.steps:
        yield from (f"{step.label}: {problem}" for problem in programs(step))


def _located(words: str, document: Document, lines: Lines | None) -> Problem:
    """A sentence about a step or an edge, with the place in the document that it is about."""
    found = re.match(r"(?:step|(?:loop )?edge -?\d+ ->) (-?\d+)\b", words)
    place = next((at for at, (seq, _) in enumerate(document.numbered()) if found and seq == int(found[1])), None)
    where = "" if place is None else f"steps[{place}]"
    return _with_line(Problem(where, None, words), document, lines)


def _with_line(problem: Problem, document: Document | None, lines: Lines | None) -> Problem:
    if problem.line is not None or lines is None or document is None or not problem.where:
        return problem
    path = [int(part) if part.isdecimal() else part for part in re.findall(r"[^.\[\]]+", problem.where)]
    return problem._replace(line=lines.of(tuple(path), len(document.steps)))
