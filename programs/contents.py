"""The files of an installed distribution: one hash over all, and which of them are not as they were installed."""

import base64
import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

_METADATA: Final = ("METADATA", "entry_points.txt")
"""The files of a .dist-info folder that count. Others there are notes of installers, which add new kinds of them."""
_SCRIPTS: Final = ("bin", "Scripts")


@dataclass(frozen=True)
class Contents:
    """`sha256`: 64 digits, the same wherever the same wheel is installed; None: there is none, and `missing` says why.
    `changed`: files that are gone or differ from what RECORD says of them."""

    sha256: str | None
    missing: str = ""
    changed: tuple[str, ...] = ()


def contents_of(distribution: metadata.Distribution, *, is_editable: bool) -> Contents:
    """Read every file that its RECORD names, as it is on the disk now.

    The hash is the SHA-256 of lines as `sha256sum` prints them, sorted by path as text; a file that is gone has the
    word instead. Left out is what differs from machine to machine: notes of installers, compiled files, scripts.
    """
    if is_editable:
        return Contents(None, "it is an editable installation, whose files are not recorded")
    try:
        rows = list(_rows(distribution.read_text("RECORD") or ""))
    except (OSError, UnicodeError, csv.Error) as error:
        return Contents(None, f"its RECORD cannot be read: {error}")
    if not rows:
        return Contents(None, "it has no RECORD of its files")
    lines, changed = [], []
    for path, recorded in rows:
        found = _sha256(Path(str(distribution.locate_file(path))))
        if recorded and found != recorded:
            changed.append(path)
        if _is_everywhere_the_same(path):
            lines.append((path, f"{found}  {path}\n"))
    whole = "".join(line for _, line in sorted(lines))
    return Contents(hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest(), changed=tuple(changed))


def _rows(record: str) -> Iterator[tuple[str, str]]:
    """Path and SHA-256 of each file; "" where none is recorded, or one of another kind, which no installer writes."""
    for row in csv.reader(record.splitlines()):
        if row and row[0]:
            kind, _, value = (row[1] if len(row) > 1 else "").partition("=")
            yield row[0], _hex(value) if kind == "sha256" else ""


def _hex(value: str) -> str:
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    except ValueError:
        return "unreadable"


def _sha256(path: Path) -> str:
    try:
        if not path.is_file():
            return "gone"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "gone"


def _is_everywhere_the_same(path: str) -> bool:
    *folders, name = path.split("/")
    if folders and folders[0].endswith(".dist-info"):
        return name in _METADATA
    if folders and folders[0] == ".." and folders[-1] in _SCRIPTS:  # their first line is the path of an interpreter
        return False
    return not folders or folders[-1] != "__pycache__"
