"""`penstock why`: what a flow, or a task, waits for, and what would let it go on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from penstock.door_options import Opened, door_options

if TYPE_CHECKING:
    from penstock.doors.door import Door

EXAMPLES = """\b
Examples:
  penstock why FLOW                    every task that is not over: what for, until when, what helps
  penstock why FLOW/3                  task 3, and what lies at the bottom of what it waits for
  penstock why FLOW --json
"""


@click.command("why", epilog=EXAMPLES)
@click.argument("flow", metavar="FLOW[/SEQ]")
@door_options
def command(flow: str, open_door: Opened, as_json: bool) -> None:
    """Say why a FLOW, or one task of it, is where it is; exit 3 if there is no such flow or task."""
    from penstock import output

    with open_door() as door:
        found = _asked(door, flow)
    if as_json:
        output.echo_json(found)
        return
    output.say(f"{found['task_id']}  {found['task_flow_id']}", bold=True)
    output.say(_sentence(found["words"]))
    for task in found["tasks"]:
        _show(task)
    if found["more"]:
        click.echo("\nMore tasks are not over than are shown: penstock ps FLOW has them all.", err=True)


def _asked(door: Door, text: str) -> dict[str, Any]:
    """The whole text is a flow's id first: ids may have slashes in them."""
    from engine.errors import UnknownFlow
    from penstock.doors.problems import NotFound

    try:
        return door.why(text)
    except (UnknownFlow, NotFound):
        parts = re.fullmatch(r"(.+)/(\d{1,18})", text, re.DOTALL)
        if parts is None:
            raise
        return door.why(parts[1], int(parts[2]))


def _show(task: dict[str, Any]) -> None:
    from penstock import output

    click.echo()
    if not task["causes"]:
        output.say(_sentence(task["words"]))
        return
    name = task["name"] or task["program"] or ""
    rows = [(cause["cause"], cause["what"], cause["unblocks"]) for cause in task["causes"]]
    title = f"{task['task_exec_seq']}  {name}  {task['status']}"
    output.console().print(output.table(title, ("cause", "what it waits for", "what helps"), rows))
    if task["hidden"]:
        output.say(f"... and {task['hidden']:,} more causes")
    if task["roots"]:
        click.echo("At the bottom of that:")
    for root in task["roots"]:
        output.say(f"  {root['words']}")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
