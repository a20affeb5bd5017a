"""`penstock logs`: what the tries of a task have logged."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from penstock.door_options import Opened, door_options
from penstock.visible import visible_log

EVERY_S = 1.0
REMEMBERED = 500
"""Characters of what was shown last."""
EXAMPLES = """\b
Examples:
  penstock logs FLOW                   of all its tasks
  penstock logs FLOW/3                 of one
  penstock logs FLOW -f                until it is over
"""


@click.command("logs", epilog=EXAMPLES)
@click.argument("subject", metavar="FLOW[/SEQ]")
@door_options
@click.option("-f", "--follow", "live", is_flag=True, help="Go on until the flow is over.")
def command(subject: str, open_door: Opened, as_json: bool, live: bool) -> None:
    """Print what the tries of the tasks of FLOW have logged, oldest first; each line under its task."""
    from penstock import output
    from penstock.follow import is_over
    from penstock.subjects import split

    with open_door() as door:
        flow_id, seqs = split(door, subject, ())
        shown = Shown()
        while True:
            flow = door.flow(flow_id)
            tasks = door.all_tasks(flow_id)
            if seqs:
                tasks = [task for task in tasks if task["task_exec_seq"] in seqs] or [door.task(flow_id, seqs[0])]
            logs = [
                {"task_exec_seq": task["task_exec_seq"], "program": task["program"], **log}
                for task in tasks
                if task["claims"]
                for log in door.logs(flow_id, task["task_exec_seq"])
            ]
            if as_json and not live:
                output.echo_json({"task_flow_id": flow_id, "logs": logs})
                return
            for log in logs:
                shown.show(log)
            if not live or is_over({**flow, "tasks": tasks}):
                return
            time.sleep(EVERY_S)


class Shown:
    """Prints what is new of each try.

    While it runs it may have shown more than its attempt keeps, or less: then the log is shown from where it goes on,
    and whole where no line of it tells.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str]] = {}
        """How long the text of each try was, and how it ended."""
        self._last: str | None = None

    def show(self, log: dict[str, Any]) -> None:
        claim_id, text = log["claim_id"], log["text"]
        new = self._new(claim_id, text.rstrip("\n"))
        if not new:
            return
        if self._last != claim_id:
            from penstock import output

            output.say(f"{log['task_exec_seq']}  {log['program']}  {log['outcome'] or 'running'}", bold=True)
            self._last = claim_id
        click.echo(visible_log(new) if sys.stdout.isatty() else new)

    def _new(self, claim_id: str, text: str) -> str:
        length, end = self._seen.get(claim_id, (0, ""))
        self._seen[claim_id] = len(text), text[-REMEMBERED:]
        if not text[:length].endswith(end):
            length = text.rfind(end) + len(end) if end in text else 0
        return text[length:].removeprefix("\n") if length else text
