"""Documents against the code: what they list is what there is, and what they show runs."""

from __future__ import annotations

import re
import sqlite3
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from engine.commands import COMMANDS, Command, Noun
from engine.schema import SQL_ROOT
from engine.states import Reason
from engine.tables import metadata
from penstock.cli import cli
from penstock.watcher_options import watcher_options
from programs.catalogue import build_catalogue
from register.access.exposure import refuse_exposed
from register.settings import Settings
from tests.chaos.command import main as chaos

ROOT = Path(__file__).resolve().parent.parent
DOCS = [ROOT / "README.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_table_and_column_is_explained() -> None:
    text = (ROOT / "docs/tables.md").read_text()
    missing = [
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if table.name in ("ms_task_definition", "ms_task_edge", "ms_task_option", "kr_flow_stat", "kr_task_stat")
        and f"`{column.name}`" not in text
        and not re.fullmatch(r"param[2-4]_(key|value)|param1_value|param5_key", column.name)
    ]
    assert missing == []
    assert [table.name for table in metadata.sorted_tables if f"**`{table.name}`**" not in text] == []


def test_every_command_is_explained_with_its_arguments() -> None:
    text = (ROOT / "docs/commands.md").read_text()
    expected = [_command_row(command) for command in COMMANDS.values()]
    assert [row for row in expected if row not in text.splitlines()] == []


def _command_row(command: Command) -> str:
    fields = command.arguments.model_fields.items()
    told = ", ".join(f"`{name}`" if field.is_required() else f"`{name}`?" for name, field in fields)
    noun = "" if command.noun is Noun.EVERYTHING else command.noun
    return f"| `{command.name}` | {noun} | {told} | {command.role} | {command.about} |"


def test_every_reason_is_explained() -> None:
    text = (ROOT / "docs/states.md").read_text()
    own = {Reason.AGAIN, Reason.RETRY, Reason.LAPSED, Reason.RELEASED, Reason.IGNORED, Reason.AWAITING}
    reasons = {value for name, value in vars(Reason).items() if name.isupper()} - own
    assert [reason for reason in reasons if f"| `{reason}` |" not in text] == []


def test_every_reason_has_a_meaning() -> None:
    text = (ROOT / "docs/reasons.md").read_text()
    reasons = {value for name, value in vars(Reason).items() if name.isupper()}
    assert [reason for reason in reasons if f"`{reason}`" not in text] == []


def test_every_watcher_flag_is_explained() -> None:
    text = (ROOT / "docs/operating.md").read_text()
    command = click.command()(watcher_options(lambda **_: None))
    flags = {option for parameter in command.params for option in parameter.opts}
    assert flags - set(re.findall(r"--[a-z-]+", text)) == {"--label"}


def test_flags_in_documents_exist() -> None:
    known = {"--help", "--version", "--config", "--scale", "--no-samples", "--no-cache-dir"}
    known |= {"--require-hashes", "--no-deps", "--upgrade", "--upgrade-package"}  # pip's and uv's
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        commands = [command, *getattr(command, "commands", {}).values()]
        known |= {o for one in commands for p in one.params for o in (*p.opts, *p.secondary_opts)}
    known |= {option for parameter in chaos.params for option in parameter.opts}
    for document in DOCS:
        used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])", document.read_text()))
        assert used - known == set(), document.name


def test_every_built_in_program_is_named_in_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in build_catalogue(autoload=False) if name not in text] == []


def test_readme_and_sample_define_the_same_workflow() -> None:
    assert _rows(_sql_of("README.md")) == _rows((SQL_ROOT / "samples/example.sql").read_text())


def test_sql_in_the_documents_runs() -> None:
    base = (SQL_ROOT / "schema/sqlite.sql").read_text()
    for document in DOCS:
        for block in re.findall(r"```sql\n(.*?)```", document.read_text(), re.DOTALL):
            database = sqlite3.connect(":memory:")
            database.executescript(base + block)
            database.close()


def test_the_compose_file_starts_what_there_is() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert set(services) == {"db", "schema", "register", "watcher"}
    for name in ("schema", "register", "watcher"):
        assert "PENSTOCK_DB" in services[name]["environment"]
        words = services[name]["command"]
        command = cli.get_command(click.Context(cli), words[0])
        assert command is not None, words
        if isinstance(command, click.Group):
            command, words = command.commands[words[1]], words[1:]
        command.make_parser(click.Context(command, **cli.context_settings)).parse_args(
            words[1:]
        )  # refuses an unknown flag
        if name == "register":  # others reach it: it must agree to start so, and this machine alone may lead there
            told = command.make_context("serve", words[1:]).params
            refuse_exposed(Settings(host=told["host"], clear_text=told["clear_text"]))
            assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])
    for name, service in services.items():
        for needed in service.get("depends_on", {}):
            assert needed in services, f"{name} depends on {needed}"


def test_the_image_copies_what_there_is() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert set(packages["packages"]) <= names
    assert all((ROOT / name).exists() for name in names)


def _sql_of(document: str) -> str:
    return "\n".join(re.findall(r"```sql\n(.*?)```", (ROOT / document).read_text(), re.DOTALL))


def _rows(script: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(":memory:")
    database.executescript((SQL_ROOT / "schema/sqlite.sql").read_text() + script)
    rows = database.execute("SELECT * FROM ms_task_definition ORDER BY task_seq").fetchall()
    database.close()
    return rows
