"""The hashed locks of requirements/ against what asks for them. No network: `make lock` mends what fails here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.by_turns

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
IN_THE_IMAGE = ("postgresql", "mysql", "oidc")


def asked_for(extras: tuple[str, ...]) -> Iterator[Requirement]:
    """The project's own requirements, and those of extras, which may name one another."""
    project = PYPROJECT["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    for requirement in (Requirement(text) for texts in lists for text in texts):
        if requirement.name == project["name"]:
            yield from asked_for(tuple(requirement.extras))
        else:
            yield requirement


def lines_of(name: str) -> Iterator[Requirement]:
    for line in (LOCKS / name).read_text().splitlines():
        if line and not line.startswith("#"):
            yield Requirement(line)


WANTED = {
    "production": list(asked_for(IN_THE_IMAGE)),
    "development": list(asked_for(("dev",))),
    "build": list(lines_of("build.in")),
    "tools": list(lines_of("tools.in")),
}


def locked(name: str) -> dict[str, list[str]]:
    """Each distribution with its versions, of which there may be several for different platforms. Each has hashes."""
    found: dict[str, list[str]] = {}
    text = (LOCKS / f"{name}.lock").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.strip().startswith("#"):
            pinned, *hashes = line.split(" --hash=")
            requirement = Requirement(pinned)
            (exact,) = requirement.specifier
            assert exact.operator == "==", line
            assert hashes, f"{pinned} has no hash"
            assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text.strip()) for text in hashes), line
            found.setdefault(canonicalize_name(requirement.name), []).append(exact.version)
    return found


@pytest.mark.parametrize("name", WANTED)
def test_a_lock_has_what_is_asked_for_within_its_bounds(name: str) -> None:
    found = locked(name)
    for requirement in WANTED[name]:
        versions = found.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement} is not in requirements/{name}.lock: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: {versions}"


def test_what_is_tested_is_what_the_image_holds() -> None:
    development, production = locked("development"), locked("production")
    shared = production.keys() & development.keys()
    assert [name for name in shared if production[name] != development[name]] == []
    assert {"sqlalchemy", "starlette", "psycopg", "authlib"} <= shared


def test_the_build_is_locked_as_the_project_asks_for_it() -> None:
    assert [str(one) for one in WANTED["build"]] == PYPROJECT["build-system"]["requires"]


def test_the_image_and_the_makefile_install_by_hash_alone() -> None:
    """Every `pip install` names a lock, or takes what is there without asking for more."""
    extras = "".join(rf" --extra {name}" for name in IN_THE_IMAGE)
    makefile, dockerfile = (ROOT / "Makefile").read_text(), (ROOT / "Dockerfile").read_text()
    assert f"{extras} pyproject.toml --output-file $(PRODUCTION)" in makefile
    installs = re.findall(r"pip install .*", dockerfile)
    assert len(installs) == 3
    for line in installs:
        assert "--no-deps --no-index" in line or re.search(r"--require-hashes -r requirements/\w+\.lock", line), line
    assert not [line for line in re.findall(r"pip install .*", makefile) if "[dev]" in line]


def test_an_audit_that_could_not_ask_has_failed() -> None:
    """Without --strict, a service that knows no package at all leaves no known vulnerabilities."""
    assert re.search(r"pip-audit .*--vulnerability-service pypi --strict ", (ROOT / "Makefile").read_text())
