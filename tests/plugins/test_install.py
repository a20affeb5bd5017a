"""Installed with pip into a fresh environment: the plugin's programs run, and broken plugins stop the start-up.

Needs no network: the environment sees the packages of the one that runs the tests, but builds and installs its own
Penstock and plugins.
"""

import json
import os
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HELLO = ROOT / "examples" / "penstock-plugin-hello"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("installed")]

FINISH = 3


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own."""

    folder: Path

    def run(self, program: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PENSTOCK"))}
        return subprocess.run(
            [str(self.folder / "bin" / program), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=cwd or self.folder,
            env=clean,
            check=False,
        )

    def ok(self, program: str, *arguments: object, cwd: Path | None = None) -> str:
        done = self.run(program, *arguments, cwd=cwd)
        assert done.returncode == 0, f"{program} {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def install(self, *folders: Path) -> None:
        # without pip's cache, which another pip may be writing or have left half written
        alone = "--no-cache-dir", "--no-deps", "--no-index", "--no-build-isolation"
        self.ok("python", "-m", "pip", "install", "-q", *alone, *folders)

    @contextmanager
    def installed(self, *folders: Path) -> Iterator[None]:
        """Installed for a while; the distribution is called like its folder."""
        self.install(*folders)
        try:
            yield
        finally:
            self.ok("python", "-m", "pip", "uninstall", "-q", "-y", *(folder.name for folder in folders))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    fresh = Environment(folder)
    site = fresh.ok("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(site, "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    fresh.install(ROOT, HELLO)
    return fresh


@pytest.fixture
def plugin(tmp_path: Path):
    """Write the sources of a plugin; returns their folder, which is called like the distribution."""

    def write(distribution: str, source: str) -> Path:
        module = distribution.replace("-", "_")
        folder = tmp_path / distribution
        (folder / module).mkdir(parents=True)
        (folder / module / "__init__.py").write_text(dedent(source))
        (folder / "pyproject.toml").write_text(
            dedent(f"""
                [build-system]
                requires = ["hatchling"]
                build-backend = "hatchling.build"
                [project]
                name = "{distribution}"
                version = "1.5"
                dependencies = ["penstock"]
                [project.entry-points.penstock]
                {module} = "{module}"
            """)
        )
        return folder

    return write


def rows(database: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def test_penstock_and_the_plugin_are_the_installed_ones(environment):
    for module in ("penstock", "programs", "penstock_plugin_hello"):
        where = environment.ok("python", "-c", f"import {module}; print({module}.__file__)")
        assert where.startswith(str(environment.folder)), where


def test_the_plugin_is_listed(environment):
    listed = {entry["name"]: entry for entry in json.loads(environment.ok("penstock", "programs", "--json"))}
    assert {"Noop", "HTTPPostRequest", "HelloGreet", "HelloCount"} <= set(listed)
    greet = listed["HelloGreet"]
    assert greet["description"] == "Greet NAME, TIMES times. Safe to repeat."
    assert (greet["plugin"], greet["version"]) == ("hello", "0.1.0")
    assert greet["parameters"]["properties"]["TIMES"]["maximum"] == 10


def test_what_pip_installed_can_be_pinned_until_it_is_changed(environment):
    (found,) = json.loads(environment.ok("penstock", "plugins", "--json"))
    assert (found["name"], found["installer"], found["changed"]) == ("penstock-plugin-hello", "pip", [])
    assert found["origin"] == HELLO.as_uri()
    assert f"{found['name']}=={found['version']}@sha256:{found['sha256']}" == found["pin"]
    assert "HelloGreet" in environment.ok("penstock", "programs", "--plugins", found["pin"])  # compiled by now

    module = Path(found["location"], "penstock_plugin_hello", "__init__.py")
    source = module.read_text()
    try:
        module.write_text(source + "# changed\n")
        done = environment.run("penstock", "programs", "--plugins", found["pin"])
    finally:
        module.write_text(source)
    assert done.returncode == 1
    assert "where penstock_plugin_hello/__init__.py changed since the installation" in " ".join(done.stderr.split())


def test_a_workflow_of_the_plugin_runs_to_its_end(environment, tmp_path):
    database = tmp_path / "x.db"
    db = ("--db", f"sqlite:///{database}")
    environment.ok("penstock", "db", "init", *db)
    insert = (
        "INSERT INTO ms_task_definition (task_id, task_seq, program, param1_key, param1_value, param2_key,"
        " param2_value) VALUES (?, ?, ?, ?, ?, ?, ?)"
    )
    rows(database, insert, "hello", 1, "HelloGreet", "NAME", "Ada", "TIMES", "2")
    rows(database, insert, "hello", 2, "HelloCount", "FROM", "1", None, None)
    environment.ok("penstock", "register", "hello", *db)
    environment.ok("penstock", "watch", *db, "--until-idle")

    ran = rows(database, "SELECT task_exec_seq, program, exec_status, result FROM kr_task_stat ORDER BY task_exec_seq")
    assert [(seq, program, status, json.loads(result)) for seq, program, status, result in ran] == [
        (1, "HelloGreet", FINISH, {"greeting": "Hello, Ada! Hello, Ada!"}),
        (2, "HelloCount", FINISH, {"letters": 16}),
    ]


def refused(environment: Environment) -> str:
    done = environment.run("penstock", "programs")
    assert done.returncode == 1, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())  # a terminal may wrap it


def test_two_plugins_with_one_name_stop_the_start(environment, plugin):
    rival = plugin(
        "penstock-plugin-rival",
        """
        from penstock import hookimpl, program

        @hookimpl
        def penstock_programs():
            return [program("HelloGreet")(lambda: None)]
        """,
    )
    with environment.installed(rival):
        said = refused(environment)
    for part in ("HelloGreet", "penstock-plugin-hello 0.1.0", "penstock-plugin-rival 1.5"):
        assert part in said
    environment.ok("penstock", "programs")


def test_a_misspelt_hook_stops_the_start(environment, plugin):
    misspelt = plugin(
        "penstock-plugin-typo",
        """
        from penstock import hookimpl

        @hookimpl
        def penstock_progarms():
            return []
        """,
    )
    with environment.installed(misspelt):
        said = refused(environment)
    for part in ("penstock-plugin-typo 1.5", "penstock_progarms", "did you mean penstock_programs?"):
        assert part in said


def test_a_plugin_that_raises_on_import_stops_the_start(environment, plugin):
    broken = plugin("penstock-plugin-broken", "raise RuntimeError('no licence file')")
    with environment.installed(broken):
        said = refused(environment)
    for part in ("penstock-plugin-broken 1.5", "RuntimeError: no licence file", "pip uninstall penstock-plugin-broken"):
        assert part in said
