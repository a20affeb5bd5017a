"""`penstock workflows`: which workflows there are."""

from __future__ import annotations

import click

from penstock.door_options import Opened, door_options
from penstock.options import page_options

EXAMPLES = """\b
Examples:
  penstock workflows
  penstock workflows --tag daily --owner data
  penstock workflows --text invoice --json
"""


@click.command("workflows", epilog=EXAMPLES)
@door_options
@click.option("--text", help="Found in the id or the description, whatever its case.")
@click.option("--tag", help="With this tag only.")
@click.option("--owner", help="Of this owner only.")
@page_options(50)
def command(
    open_door: Opened,
    as_json: bool,
    text: str | None,
    tag: str | None,
    owner: str | None,
    limit: int,
    cursor: str | None,
) -> None:
    """List workflows: version, flows under way, the last flow, description."""
    from penstock import output

    with open_door() as door:
        found, following = door.workflows(limit=limit, cursor=cursor, text=text, tag=tag, owner=owner)
    rows = [
        (
            one["task_id"],
            one["version_id"][:12] if one["version_id"] else "cannot run",
            one["live_flows"] or "",
            one["last_flow"],
            " ".join(one["tags"]),
            one["problem"] or (one["description"] or "").partition("\n")[0],
        )
        for one in found
    ]
    columns = ("workflow", "version", "live", "last flow", "tags", "description")
    nothing = "No workflows. Write one: penstock apply FILE"
    output.show_list(as_json, {"workflows": found, "next": following}, columns, rows, nothing)
    if following is not None and not as_json:
        output.say(f"more: --cursor {following}", err=True)
