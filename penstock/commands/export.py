"""`penstock export`: a workflow as a file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from penstock.door_options import Opened, door_options
from penstock.visible import visible

EXAMPLES = """\b
Examples:
  penstock export load                                 as TOML, to edit and to apply again
  penstock export load --format sql -o load.sql
  penstock export load --version 3f2a -o load-before.toml
"""


@click.command("export", epilog=EXAMPLES)
@click.argument("workflow")
@door_options
@click.option("--format", "form", type=click.Choice(["toml", "json", "sql"]), help="[default: as FILE ends, or toml]")
@click.option("-o", "--output", "path", type=click.Path(dir_okay=False, writable=True), metavar="FILE")
@click.option("--version", "version_id", help="That version, or how its id begins; without what is for people.")
def command(
    workflow: str, open_door: Opened, as_json: bool, form: str | None, path: str | None, version_id: str | None
) -> None:
    """Write a WORKFLOW as a document, to standard output or into a file."""
    from engine.documents import text
    from engine.documents.sql import as_sql

    suffix = Path(path).suffix.lower().lstrip(".") if path else ""
    form = form or ("json" if as_json else suffix if suffix in ("toml", "json", "sql") else "toml")
    with open_door() as door:
        found = door.workflow(workflow) if version_id is None else door.version(workflow, version_id)
        backslashes = door.backslashes
    document = text.check(found["document"])
    if form == "sql":
        said = as_sql(document, backslashes=backslashes)
    else:
        said = text.as_toml(document) if form == "toml" else text.as_json(document)
    if path is None:
        click.echo(visible(said) if sys.stdout.isatty() else said, nl=False)  # elsewhere it is a file
    else:
        Path(path).write_text(said, encoding="utf-8")
