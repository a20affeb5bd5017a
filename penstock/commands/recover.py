"""`penstock recover`: let a flow go on from where it was suspended."""

from __future__ import annotations

import click

from penstock import options

EXAMPLES = """\b
Example:
  penstock ps --failed                 find the cause, mend it, then
  penstock recover FLOW
"""


@click.command("recover", epilog=EXAMPLES)
@click.argument("flow")
@options.db_option
@options.json_option
def command(flow: str, db_url: str, as_json: bool) -> None:
    """Set the suspended tasks of FLOW back to waiting, so that it goes on from there."""
    from engine.control import recover
    from penstock import access, output

    with access.database(db_url) as db:
        tasks = recover(db, flow, actor=options.me())
    if as_json:
        output.echo_json({"status": "succeeded", "taskFlowId": flow, "recovered": tasks})
    elif tasks:
        click.echo(f"{len(tasks)} set back to waiting: task {', '.join(map(str, tasks))}")
    else:
        click.echo("Nothing in this flow is suspended.", err=True)
