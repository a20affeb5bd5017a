"""`penstock diff`: what changed, or would change, in a workflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.door_options import Opened, door_options

if TYPE_CHECKING:
    from penstock.doors.door import Door

EXAMPLES = """\b
Examples:
  penstock diff load                                   the last change
  penstock diff load load.toml                         what applying the file would change
  penstock diff load 3f2a                              from that version to what is there now
  penstock diff load 3f2a 77b0 --json
"""


@click.command("diff", epilog=EXAMPLES)
@click.argument("workflow")
@click.argument("older", required=False, metavar="[VERSION]")
@click.argument("newer", required=False, metavar="[VERSION|FILE]")
@door_options
def command(workflow: str, older: str | None, newer: str | None, open_door: Opened, as_json: bool) -> None:
    """Compare two versions of a WORKFLOW, or one with a FILE, step by step and field by field.

    A version is named by how its id begins: `penstock versions WORKFLOW` lists them. The flows that are under way are
    shown with the version that each was made from. Exit 0 whether anything differs or not.
    """
    from penstock import output

    if newer is None and older is not None and _is_file(older):
        older, newer = None, older
    with open_door() as door:
        found = _found(door, workflow, older, newer)
    if as_json:
        output.echo_json(found)
    else:
        _show(found)


def _is_file(text: str) -> bool:
    return Path(text).suffix.lower() in (".toml", ".json")


def _found(door: Door, workflow: str, older: str | None, newer: str | None) -> dict[str, Any]:
    if newer is None or not _is_file(newer):
        return door.diff(workflow, older, newer)
    from engine.documents.comparing import compare
    from engine.documents.rows import rows_of
    from engine.documents.text import check
    from engine.errors import BadRequest
    from penstock import workflow_files

    [file] = workflow_files.read_all([newer])
    looked = workflow_files.look(file, None)
    if looked.document is None or looked.definition is None:
        raise workflow_files.BadFile([workflow_files.shown(file, problem) for problem in looked.problems])
    if looked.document.task_id != workflow:
        raise BadRequest("FILE", f"{newer} is of workflow {looked.document.task_id!r}")
    found = door.workflow(workflow) if older is None else door.version(workflow, older)
    document = check(found["document"])
    said = (document, looked.document) if older is None else None  # a version says nothing to people
    changes = compare(rows_of(document).compiled().content, looked.definition.content, said)
    ends = {"task_id": workflow, "from": found["version_id"], "to": None}
    return {**ends, **changes, "live": door.diff(workflow, found["version_id"])["live"]}


def _show(found: dict[str, Any]) -> None:
    from penstock import output, workflow_files

    begins, ends = (version[:12] if version else None for version in (found["from"], found["to"]))
    output.say(f"{found['task_id']}  {begins or '(nothing)'} -> {ends or '(file)'}", bold=True)
    for line in workflow_files.lines_of(found):
        output.say(line)
    if found["is_same"]:
        click.echo("nothing that makes other flows")
    live = found["live"]
    if live["count"]:
        more = " or more" if live["is_more"] else ""
        output.say(f"\nflows under way: {live['count']:,}{more}; each keeps the version that it was made from")
        for one in live["versions"]:
            output.say(f"  version {(one['version_id'] or 'none, made by hand')[:20]}: {one['flows']:,}")
        for flow_id in live["flows"]:
            output.say(f"  {flow_id}")
