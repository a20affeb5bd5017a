"""Watch one flow until it is over: a live table on a terminal, else one table at the end, or nothing."""

from __future__ import annotations

import time
from typing import Any

from rich.live import Live

from engine.queries.flows import is_moving
from penstock import output
from penstock.doors.door import Door
from penstock.failures import TimedOut

EVERY_S = 0.2


def follow(door: Door, flow_id: str, *, deadline: float | None = None, quiet: bool = False) -> dict[str, Any]:
    """The flow once it has finished, or once nothing in it can go on without a person.

    `deadline` is on the monotonic clock. Errors: TimedOut after it; UnknownFlow.
    """
    flow = door.whole_flow(flow_id)
    console = output.console()
    if quiet or not console.is_terminal:
        while not is_over(flow):
            _pause(flow, deadline)
            flow = door.whole_flow(flow_id)
        if not quiet:
            console.print(output.task_table(flow))
        return flow
    with Live(output.task_table(flow), console=console, auto_refresh=False) as live:
        while not is_over(flow):
            _pause(flow, deadline)
            flow = door.whole_flow(flow_id)
            live.update(output.task_table(flow), refresh=True)
    return flow


def is_over(flow: dict[str, Any]) -> bool:
    """Ended; or suspended somewhere, with nothing that runs, is ready, or waits for a time."""
    if flow["status"] in ("FINISH", "IGNORE"):
        return True
    moving = any(is_moving(task["exec_status"], task["wait_count"], task["due_ts"]) for task in flow["tasks"])
    return flow["status"] == "SUSPEND" and not moving


def _pause(flow: dict[str, Any], deadline: float | None) -> None:
    if deadline is not None and time.monotonic() > deadline:
        raise TimedOut(f"flow {flow['task_flow_id']} is still {flow['status']}; it goes on without being watched")
    time.sleep(EVERY_S)
