"""`penstock show`: everything about one flow."""

from __future__ import annotations

import json
from typing import Any

import click

from penstock.door_options import Opened, door_options

EXAMPLES = """\b
Examples:
  penstock show FLOW                   tasks, parameters, results, attempts and logs
  penstock show FLOW --json
"""


@click.command("show", epilog=EXAMPLES)
@click.argument("flow")
@door_options
def command(flow: str, open_door: Opened, as_json: bool) -> None:
    """Show one FLOW with the parameters, results, attempts and logs of its tasks."""
    from penstock import output

    with open_door() as door:
        found = door.whole_flow(flow)
    if as_json:
        output.echo_json(found)
        return
    output.console().print(output.task_table(found))
    for name in ("run_key", "parameters", "result"):
        if found[name]:
            output.say(f"{name.replace('_', ' ')}: {_text(found[name])}")
    for task in found["tasks"]:
        _show_task(task)


def _show_task(task: dict[str, Any]) -> None:
    from penstock import output

    output.say(f"\n{task['task_exec_seq']}  {task['program']}", bold=True)
    for name in ("parameters", "result", "reason", "error"):
        if task[name] not in (None, {}):
            output.say(f"   {name}: {_text(task[name])}")
    for attempt in task["attempts"]:
        output.say(f"   claim {attempt['claim_no']}: {attempt['outcome']}, watcher {attempt['watcher_id']}")
        if attempt["error"] and attempt["error"] != task["error"]:
            output.say(f"      {attempt['error']}")
        for line in (attempt["log"] or "").splitlines() + (attempt["traceback"] or "").splitlines():
            output.say(f"      {line}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
