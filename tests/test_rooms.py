"""The doors between the rooms: who may import whom, read from the imports themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOORS = {
    "engine": set(),
    "programs": set(),
    "register": {"engine"},
    "watcher": {"engine", "programs"},
    "penstock": {"engine", "programs", "register", "watcher"},
}
FOREIGN = {
    "engine": {"starlette", "uvicorn", "pluggy", "requests", "click", "rich"},
    "programs": {"sqlalchemy", "starlette", "uvicorn", "click"},
    "register": {"pluggy", "requests", "click", "alembic"},
    "watcher": {"starlette", "uvicorn", "click", "alembic"},
}
ALEMBIC_ONLY_IN = {"engine/migrate.py"}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which door is used"
            yield node.module or ""


def files_of(room: str) -> list[Path]:
    found = sorted((ROOT / room).rglob("*.py"))
    assert found, f"room {room} is empty"
    return found


@pytest.mark.parametrize("room", DOORS)
def test_no_door_but_those_in_the_picture(room: str) -> None:
    allowed = DOORS[room] | {room}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files_of(room)
        for name in imports_of(path)
        if name.split(".")[0] in DOORS and name.split(".")[0] not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("room", FOREIGN)
def test_a_room_knows_only_the_libraries_of_its_trade(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files_of(room)
        for name in imports_of(path)
        if name.split(".")[0] in FOREIGN[room] and path.relative_to(ROOT).as_posix() not in ALEMBIC_ONLY_IN
    ]
    assert wrong == []


def test_only_the_dialects_ask_which_database_it_is() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for room in DOORS
        for path in files_of(room)
        if "dialects" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(r"dialect\.name (==|!=|in|not in) |drivername ==", line)
    ]
    assert wrong == []


def test_exec_status_is_updated_in_one_file() -> None:
    writers = {
        path.relative_to(ROOT).as_posix()
        for room in DOORS
        for path in files_of(room)
        if '"exec_status": int(step.target)' in path.read_text() or "values(exec_status" in path.read_text()
    }
    assert writers == {"engine/transitions.py"}


def test_alembic_is_imported_in_one_place() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for room in DOORS
        for path in files_of(room)
        if any(name.split(".")[0] == "alembic" for name in imports_of(path))
    }
    assert users == ALEMBIC_ONLY_IN
