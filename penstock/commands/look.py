"""Lists for operators: queues, limits, watchers, open waits, and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from penstock.door_options import Opened, door_options
from penstock.options import page_options


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  penstock {line}" for line in lines)


@click.command("queues", epilog=_examples("queues", "queues --json --url http://127.0.0.1:8000"))
@door_options
def queues(open_door: Opened, as_json: bool) -> None:
    """List queues: what is ready and runs, who serves them, what holds them back."""
    from penstock import output

    with open_door() as door:
        found = door.queues()
    rows = [
        (
            one["queue"],
            f"{one['ready']:,}{'+' if one['ready_is_more'] else ''}",
            one["running"],
            one["watchers"],
            _cap(one),
            _pause(one),
        )
        for one in found
    ]
    columns = ("queue", "ready", "running", "watchers", "limit", "paused")
    output.show_list(as_json, {"queues": found}, columns, rows, "No queue has anything in it.")


@click.command("limits", epilog=_examples("limits"))
@door_options
def limits(open_door: Opened, as_json: bool) -> None:
    """List limits and pauses of queues, workflows and keys."""
    from penstock import output

    with open_door() as door:
        found = door.limits()
    rows = [(one["scope"], one["name"], _cap(one), _pause(one)) for one in found]
    output.show_list(as_json, {"limits": found}, ("scope", "name", "limit", "paused"), rows, "No limits.")


def _cap(one: Mapping[str, Any]) -> str:
    parts = [f"{one['max_running']} at once"] if one["max_running"] is not None else []
    parts += [f"{one['rate']} in {one['rate_period_s']:g} s"] if one["rate"] is not None else []
    return ", ".join(parts)


def _pause(one: Mapping[str, Any]) -> str:
    from penstock import output

    if one["paused_ts"] is None:
        return ""
    why = f": {one['paused_reason']}" if one["paused_reason"] else ""
    return f"{output.moment(one['paused_ts'])} by {one['paused_by']}{why}"


@click.command("watchers", epilog=_examples("watchers", "drain WATCHER"))
@door_options
def watchers(open_door: Opened, as_json: bool) -> None:
    """List watchers that live, or died within a day."""
    from penstock import output

    with open_door() as door:
        found = door.watchers()
    rows = [
        (
            one["watcher_id"],
            one["label"] or "",
            f"{one['host']}:{one['pid']}",
            ", ".join(one["queues"]),
            f"{one['running']}/{one['slots']}",
            one["state"] if one["lives"] else "dead",
            one["wanted"] or "",
            output.moment(one["beat_ts"]),
        )
        for one in found
    ]
    columns = ("watcher", "label", "process", "queues", "runs", "state", "wanted", "last beat")
    output.show_list(as_json, {"watchers": found}, columns, rows, "No watchers. Start one: penstock watch")


@click.command(
    "waits", epilog=_examples("waits", "waits --kind message", "answer WAIT --payload '{\"approved\": true}'")
)
@door_options
@click.option(
    "--kind",
    type=click.Choice(["approval", "form", "message", "callback", "timer", "flow"]),
    help="Of this kind; approvals and forms unless told.",
)
@page_options(50)
def waits(open_door: Opened, as_json: bool, kind: str | None, limit: int, cursor: str | None) -> None:
    """List what tasks await, of people unless another kind is named."""
    from penstock import output

    with open_door() as door:
        page = door.waits(kind=kind, limit=limit, cursor=cursor)
    rows = [
        (
            one["wait_id"],
            one["kind"],
            one["name"] or "",
            f"{one['task_flow_id']}/{one['task_exec_seq']}",
            output.moment(one["created_ts"]),
            output.moment(one["due_ts"]),
        )
        for one in page.rows
    ]
    columns = ("wait", "kind", "name", "task", "since", "until")
    output.show_list(as_json, {"waits": page.rows, "next": page.next}, columns, rows, "Nothing is awaited.")


@click.command("stats", epilog=_examples("stats", "stats --workflow load --minutes 60"))
@door_options
@click.option("--workflow", metavar="TASK_ID", help="Minutes of this workflow only.")
@click.option("-n", "--minutes", type=click.IntRange(1, 1_440), default=15, show_default=True, help="At most so many.")
def stats(open_door: Opened, as_json: bool, workflow: str | None, minutes: int) -> None:
    """Count what is in play, and what each of the last minutes brought."""
    from penstock import output

    with open_door() as door:
        now = door.stats()
        found = door.series(task_id=workflow, limit=minutes)
    if as_json:
        output.echo_json({"now": now, "minutes": found})
        return
    for name, count in now.items():
        if name != "more":
            more = "+" if name in now["more"] else ""
            output.say(f"{name.replace('_', ' '):16} {count:>8,}{more}")
    rows = [
        (
            output.moment(one["minute_ts"]),
            one["registered"],
            one["finished"],
            one["ignored"],
            "" if one["mean_s"] is None else f"{one['mean_s']:.2f} s",
            "" if one["longest_s"] is None else f"{one['longest_s']:.2f} s",
        )
        for one in found
    ]
    if rows:
        click.echo()
        columns = ("minute", "registered", "finished", "ignored", "mean", "longest")
        output.console().print(output.table(None, columns, rows))
