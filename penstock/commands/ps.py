"""`penstock ps`: flows, the tasks of one flow, or what failed."""

from __future__ import annotations

from typing import Any

import click

from engine.states import Status
from penstock.door_options import Opened, door_options
from penstock.options import page_options

EXAMPLES = """\b
Examples:
  penstock ps                          the newest flows
  penstock ps FLOW                     its tasks
  penstock ps FLOW --follow            its tasks, live, until it is over
  penstock ps --failed                 suspended tasks with their message and traceback
  penstock ps --workflow load --status suspend
"""
_STATUSES = {status.name.lower(): int(status) for status in Status}


@click.command("ps", epilog=EXAMPLES)
@click.argument("flow", required=False)
@door_options
@click.option("--failed", is_flag=True, help="Suspended tasks, latest first, with their message and traceback.")
@click.option("--workflow", metavar="TASK_ID", help="Flows of this workflow only.")
@click.option("--status", type=click.Choice(list(_STATUSES)), help="Flows in this status only.")
@click.option("--run-key", help="Flows of this period or business key only.")
@click.option("--tag", help="Flows with this tag only.")
@click.option("--text", help="Flows with this in an id, the run key or the reason, whatever its case.")
@page_options(20)
@click.option("-f", "--follow", "live", is_flag=True, help="With FLOW: show it live until it is over.")
def command(
    flow: str | None,
    open_door: Opened,
    as_json: bool,
    failed: bool,
    workflow: str | None,
    status: str | None,
    run_key: str | None,
    tag: str | None,
    text: str | None,
    limit: int,
    cursor: str | None,
    live: bool,
) -> None:
    """List flows, or the tasks of one FLOW."""
    from penstock import output
    from penstock.follow import follow

    with open_door() as door:
        if flow is not None and live:
            found = follow(door, flow, quiet=as_json)
            if as_json:
                output.echo_json(found)
        elif flow is not None:
            _show_tasks(door.whole_flow(flow), as_json)
        elif failed:
            _show_failed(door.failures(limit=limit), as_json)
        else:
            wanted = None if status is None else _STATUSES[status]
            where = {"task_id": workflow, "status": wanted, "run_key": run_key, "tag": tag, "text": text}
            _show_flows(*door.flows(limit=limit, cursor=cursor, **where), as_json)


def _show_flows(flows: list[dict[str, Any]], following: str | None, as_json: bool) -> None:
    from penstock import output

    if as_json:
        output.echo_json({"flows": flows, "next": following})
    elif not flows:
        click.echo("No flows. Start one: penstock register TASK_ID", err=True)
    else:
        output.console().print(output.flow_table(flows))


def _show_tasks(flow: dict[str, Any], as_json: bool) -> None:
    from penstock import output

    if as_json:
        output.echo_json(flow)
    else:
        output.console().print(output.task_table(flow))


def _show_failed(tasks: list[dict[str, Any]], as_json: bool) -> None:
    from penstock import output

    if as_json:
        output.echo_json(tasks)
        return
    if not tasks:
        click.echo("Nothing is suspended.", err=True)
    for task in tasks:
        output.say(f"{task['task_flow_id']}/{task['task_exec_seq']}  {task['program']}  {task['reason']}", bold=True)
        output.say(
            f"  {task['task_id']} step {task['task_seq']}, {output.moment(task['suspended_ts'])}: {task['error']}"
        )
        for attempt in task["attempts"]:
            for line in (attempt["traceback"] or "").splitlines():
                output.say(f"    {line}")
    if tasks:
        click.echo("\nMend the cause, then: penstock recover FLOW", err=True)
