"""`penstock apply`: make files the workflows from now on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock import options
from penstock.door_options import Opened, door_options

if TYPE_CHECKING:
    from penstock.doors.door import Door
    from penstock.workflow_files import File

EXAMPLES = """\b
Examples:
  penstock apply load.toml
  penstock apply load.toml --dry-run                   what would change, and which flows are under way
  penstock apply workflows/                            every .toml, .json and .sql file in the folder
  penstock apply load.toml --if-version 3f2a...        refuse if somebody has changed it since
  penstock export load | penstock apply -              - is standard input, as TOML
"""


@click.command("apply", epilog=EXAMPLES)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True))
@door_options
@options.check_option
@options.plugin_options
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option(
    "--if-version",
    metavar="VERSION",
    help="Refuse unless the workflow is at this version, in full, or stamp; for one file.",
)
@click.option("--reason", help="Why, for the record.")
def command(
    files: tuple[str, ...],
    open_door: Opened,
    check_programs: bool,
    plugins: str | None,
    no_plugins: bool,
    as_json: bool,
    dry_run: bool,
    if_version: str | None,
    reason: str | None,
) -> None:
    """Make the workflows of FILES (TOML, JSON or SQL) what flows are made of from now on.

    All files are checked first. Each is one transaction, and replaces all rows of its workflow or none; flows that are
    under way keep the version that they were made from.
    """
    from penstock import output, services, workflow_files

    found = workflow_files.read_all(files)
    if if_version is not None and (len(found) > 1 or found[0].form == workflow_files.SQL):
        raise click.UsageError("--if-version is for one workflow: give one TOML or JSON file with it")
    check = services.program_check(services.catalogue(plugins, no_plugins)) if check_programs else None
    workflow_files.refuse_bad(found, check)
    answers: list[dict[str, Any]] = []
    with open_door(check) as door:
        for file in found:
            applied = _apply(door, file, dry_run, if_version, reason)
            answers += applied
            if not as_json:
                for answer in applied:
                    workflow_files.show_applied(file.name, answer, dry_run)
    if as_json:
        output.echo_json(answers)


def _apply(door: Door, file: File, dry_run: bool, if_version: str | None, reason: str | None) -> list[dict[str, Any]]:
    from penstock import workflow_files

    if file.form == workflow_files.SQL:
        return workflow_files.run_sql(door, file, reason, dry_run)
    arguments = {"document": file.text, "format": file.form, "if_version": if_version, "dry_run": dry_run}
    return [door.ask("apply", file.task_id, arguments, reason)]
