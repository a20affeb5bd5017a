"""`penstock versions`: which versions of a workflow are kept."""

from __future__ import annotations

import click

from penstock.door_options import Opened, door_options
from penstock.options import page_options

EXAMPLES = """\b
Examples:
  penstock versions load
  penstock versions load --json
  penstock export load --version 3f2a                  one of them, as a file
"""


@click.command("versions", epilog=EXAMPLES)
@click.argument("workflow")
@door_options
@page_options(20)
def command(workflow: str, open_door: Opened, as_json: bool, limit: int, cursor: str | None) -> None:
    """List the versions of a WORKFLOW that are kept, newest first; a star marks the one that flows are made from."""
    from penstock import output

    with open_door() as door:
        versions, following = door.versions(workflow, limit=limit, cursor=cursor)
    if as_json:
        output.echo_json({"versions": versions, "next": following})
        return
    rows = [
        ("*" if one["is_current"] else "", one["version_id"][:16], output.moment(one["created_ts"])) for one in versions
    ]
    output.console().print(output.table(None, ("", "version", "since"), rows))
    if following is not None:
        output.say(f"more: --cursor {following}", err=True)
