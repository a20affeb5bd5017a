"""`penstock versions`: which versions of a workflow are kept."""

from __future__ import annotations

import click

from penstock import options

EXAMPLES = """\b
Examples:
  penstock versions load
  penstock versions load --json
  penstock export load --version 3f2a                  one of them, as a file
"""


@click.command("versions", epilog=EXAMPLES)
@click.argument("workflow")
@options.db_option
@options.json_option
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="At most so many.")
@click.option("--cursor", help="Go on where a page ended: `next` of the JSON output.")
def command(workflow: str, db_url: str, as_json: bool, limit: int, cursor: str | None) -> None:
    """List the versions of a WORKFLOW that are kept, newest first; a star marks the one that flows are made from."""
    from engine.documents import kept
    from engine.documents.standing import current_version
    from engine.errors import UnknownWorkflow
    from penstock import access, output

    with access.database(db_url) as db, db.read() as conn:
        current = current_version(conn, workflow)
        found, following = kept.list_versions(conn, workflow, limit=limit, cursor=cursor)
    if not found and current is None:
        raise UnknownWorkflow(workflow)
    versions = [version.as_json(current) for version in found]
    if as_json:
        output.echo_json({"versions": versions, "next": following})
        return
    rows = [
        ("*" if one["is_current"] else "", one["version_id"][:16], output.moment(one["created_ts"])) for one in versions
    ]
    output.console().print(output.table(None, ("", "version", "since"), rows))
    if following is not None:
        click.echo(f"more: --cursor {following}", err=True)
