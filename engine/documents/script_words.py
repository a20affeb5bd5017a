"""SQL text cut into statements and words, as little as is needed to tell what a statement is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_TEXT: Final = r"'(?:[^']|'')*'"
_TEXT_WITH_BACKSLASHES: Final = r"'(?:[^'\\]|\\.|'')*'"
_KINDS: Final = (
    ("blank", r"\s+"),
    ("comment", r"--(?=\s|\Z)[^\n]*|/\*(?![!+])(?:[^*]|\*(?!/))*\*/"),
    ("text", ""),
    ("name", r"[A-Za-z_][A-Za-z0-9_]*"),
    ("number", r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"),
    ("end", r";"),
    ("odd", r"--|/\*"),
    ("sign", r"[(),=<>!+*/|.%-]"),
    ("other", r"."),
)


class Word(NamedTuple):
    """A word of a statement: `text` in lower case, where it is a name; `problem`: why it may not stand there."""

    text: str
    line: int
    shown: str = ""
    is_name: bool = False
    problem: str | None = None


def statements_in(script: str, *, backslashes: bool) -> Iterator[tuple[str, list[Word]]]:
    """Each statement as it is written, and its words. Texts between quotes are one word, and comments none."""
    words: list[Word] = []
    start, line, name_end = 0, 1, -1
    for found in _pattern(backslashes).finditer(script):
        kind, said = found.lastgroup, found[0]
        if kind == "end":
            if words:
                yield script[start : found.start()].strip(), words
            words, start = [], found.end()
        elif kind not in ("blank", "comment"):
            if not words:
                start = found.start()
            words.append(_word("prefixed" if kind == "text" and found.start() == name_end else kind, said, line))
            name_end = found.end() if kind == "name" else -1
        line += said.count("\n")
    if words:
        yield script[start:].strip(), words


def _word(kind: str | None, said: str, line: int) -> Word:
    if kind == "name":
        return Word(said.lower(), line, said, is_name=True)
    if kind == "text":
        return Word("''", line, said[:40])
    if kind == "prefixed":
        return Word(
            said, line, said[:40], problem="a name right before a text changes what it says: write a plain text"
        )
    if kind in ("odd", "other"):
        return Word(said, line, said, problem=_odd(said))
    return Word(said, line, said)


def _odd(said: str) -> str:
    if said == "'":
        return "a text begins here and does not end"
    if said in ("--", "/*"):
        return "write comments as `-- words`, with a blank"
    if said in ('"', "`"):
        return f"{said} means different things to databases: write names plainly, and texts between '"
    return f"{said!r} may not stand in a definition"


def _pattern(backslashes: bool) -> re.Pattern[str]:
    text = _TEXT_WITH_BACKSLASHES if backslashes else _TEXT
    return re.compile("|".join(f"(?P<{name}>{text if name == 'text' else kind})" for name, kind in _KINDS), re.DOTALL)
