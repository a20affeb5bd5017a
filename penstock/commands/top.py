"""`penstock top`: watchers, queues and rates, live."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from penstock.door_options import Opened, door_options

if TYPE_CHECKING:
    from rich.console import Group

    from penstock.doors.door import Door

EXAMPLES = """\b
Examples:
  penstock top
  penstock top --every 0.5 --url http://127.0.0.1:8000
"""


@click.command("top", epilog=EXAMPLES)
@door_options
@click.option(
    "--every", type=click.FloatRange(0.2, 3_600), default=2.0, show_default=True, help="Seconds between looks."
)
@click.option("--once", is_flag=True, help="Look once, and end.")
def command(open_door: Opened, as_json: bool, every: float, once: bool) -> None:
    """Show watchers, queues and what the last minutes brought, until interrupted."""
    from rich.live import Live

    from penstock import output

    with open_door() as door:
        if as_json:
            output.echo_json(_look(door))
            return
        console = output.console()
        if once or not console.is_terminal:
            console.print(_shown(door.where, _look(door)))
            return
        with Live(_shown(door.where, _look(door)), console=console, auto_refresh=False, screen=True) as live:
            while True:
                time.sleep(every)
                live.update(_shown(door.where, _look(door)), refresh=True)


def _look(door: Door) -> dict[str, Any]:
    return {
        "now": door.stats(),
        "minutes": door.series(limit=5),
        "queues": door.queues(),
        "watchers": [one for one in door.watchers() if one["lives"]],
    }


def _shown(where: str, seen: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    from penstock import output
    from penstock.visible import visible

    now, more = seen["now"], seen["now"]["more"]
    counts = "  ".join(
        f"{name.replace('_', ' ')} {count:,}{'+' if name in more else ''}"
        for name, count in now.items()
        if name != "more"
    )
    queues = [
        (
            one["queue"],
            f"{one['ready']:,}{'+' if one['ready_is_more'] else ''}",
            one["running"],
            one["watchers"],
            "paused" if one["paused_ts"] else "",
        )
        for one in seen["queues"]
    ]
    watchers = [
        (one["label"] or one["watcher_id"][:8], one["host"], f"{one['running']}/{one['slots']}", one["state"])
        for one in seen["watchers"]
    ]
    minutes = [
        (output.moment(one["minute_ts"])[:5], one["registered"], one["finished"], one["ignored"])
        for one in seen["minutes"]
    ]
    return Group(
        Text(visible(where), style="bold"),
        Text(counts),
        Text(),
        output.table("Queues", ("queue", "ready", "running", "watchers", ""), queues),
        Text(),
        output.table("Watchers", ("watcher", "host", "runs", "state"), watchers),
        Text(),
        output.table("Minutes", ("minute", "registered", "finished", "ignored"), minutes),
    )
