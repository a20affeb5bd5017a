"""`penstock why`: what a flow, or a task, waits for, and what would let it go on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from penstock import options

if TYPE_CHECKING:
    from engine.database import Database

EXAMPLES = """\b
Examples:
  penstock why FLOW                    every task that is not over: what for, until when, what helps
  penstock why FLOW/3                  task 3, and what lies at the bottom of what it waits for
  penstock why FLOW --json
"""


@click.command("why", epilog=EXAMPLES)
@click.argument("flow", metavar="FLOW[/SEQ]")
@options.db_option
@options.json_option
def command(flow: str, db_url: str, as_json: bool) -> None:
    """Say why a FLOW, or one task of it, is where it is; exit 3 if there is no such flow or task."""
    from penstock import access, output

    with access.database(db_url) as db:
        found = _asked(db, flow)
    if as_json:
        output.echo_json(found)
        return
    click.secho(f"{found['task_id']}  {found['flow_id']}", bold=True)
    click.echo(_sentence(found["words"]))
    for task in found["tasks"]:
        _show(task)
    if found["more"]:
        click.echo("\nMore tasks are not over than are shown: penstock ps FLOW has them all.", err=True)


def _asked(db: Database, text: str) -> dict[str, Any]:
    """The whole text is a flow's id first: ids may have slashes in them."""
    from engine.errors import UnknownFlow
    from engine.explain import explain

    with db.read() as conn:
        try:
            return explain(conn, text).document()
        except UnknownFlow:
            parts = re.fullmatch(r"(.+)/(\d{1,18})", text, re.DOTALL)
            if parts is None:
                raise
            return explain(conn, parts[1], int(parts[2])).document()


def _show(task: dict[str, Any]) -> None:
    from penstock import output

    click.echo()
    if not task["causes"]:
        click.echo(_sentence(task["words"]))
        return
    name = task["name"] or task["program"] or ""
    rows = [(cause["cause"], cause["what"], cause["unblocks"]) for cause in task["causes"]]
    title = f"{task['seq']}  {name}  {task['status']}"
    output.console().print(output.table(title, ("cause", "what it waits for", "what helps"), rows))
    if task["hidden"]:
        click.echo(f"... and {task['hidden']:,} more causes")
    if task["roots"]:
        click.echo("At the bottom of that:")
    for root in task["roots"]:
        click.echo(f"  {root['words']}")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
