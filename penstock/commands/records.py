"""`penstock commands` and `penstock events`: who asked for what, and what happened; to look at, or to take out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import click
from click.core import ParameterSource

from penstock.changes import said
from penstock.door_options import Opened, door_options
from penstock.options import page_options
from penstock.taking import take
from penstock.visible import visible_json, visible_line

COMMANDS = """\b
Examples:
  penstock commands
  penstock commands --subject FLOW
  penstock commands --after 0 --json > commands.ndjson          all of them, to keep elsewhere
  penstock commands --after 812 -f --json >> commands.ndjson    what came behind, and goes on coming
"""
EVENTS = """\b
Examples:
  penstock events
  penstock events FLOW
  penstock events -f
  penstock events --after 0 --json > events.ndjson
"""

_after_option = click.option(
    "--after",
    type=click.IntRange(0, 2**63 - 1),
    metavar="NUMBER",
    help="All behind this number, oldest first, each once: a line each, with --json of JSON. 0: from the first.",
)


@click.command("commands", epilog=COMMANDS)
@door_options
@click.option("--subject", help="About this flow, queue, wait ...")
@_after_option
@click.option("-f", "--follow", "live", is_flag=True, help="With --after: go on, until interrupted.")
@page_options(50)
@click.pass_context
def commands(
    context: click.Context,
    open_door: Opened,
    as_json: bool,
    subject: str | None,
    after: int | None,
    live: bool,
    limit: int,
    cursor: str | None,
) -> None:
    """List what operators asked for, through whatever door, what became of it, and what it changed."""
    from penstock import output

    if live and after is None:
        raise click.UsageError("--follow goes with --after")
    with open_door() as door:
        if after is not None:
            _refuse_pages(context)
            _write_lines(
                take(partial(door.commands, subject=subject), "command_id", after, live=live), as_json, _command
            )
            return
        page = door.commands(subject=subject, limit=limit, cursor=cursor)
    rows = [_command(one) for one in page.rows]
    columns = ("number", "when", "verb", "subject", "by", "door", "outcome", "reason", "change")
    output.show_list(
        as_json, {"commands": page.rows, "next": page.next}, columns, rows, "Nobody has asked for anything."
    )


def _command(one: Mapping[str, Any]) -> tuple[Any, ...]:
    from penstock import output

    return (
        one["command_id"],
        output.moment(one["asked_ts"] or one["handled_ts"]),
        one["verb"],
        one["subject"] or "",
        one["asked_by"] or "",
        one["door"],
        one["outcome"] or "waits",
        one["reason"] or "",
        said(one.get("changes")),
    )


@click.command("events", epilog=EVENTS)
@door_options
@click.argument("flow", required=False)
@_after_option
@click.option("-f", "--follow", "live", is_flag=True, help="Go on with what happens, until interrupted.")
@page_options(50)
@click.pass_context
def events(
    context: click.Context,
    open_door: Opened,
    as_json: bool,
    flow: str | None,
    after: int | None,
    live: bool,
    limit: int,
    cursor: str | None,
) -> None:
    """List what happened, in all flows or in one FLOW, newest first; with --follow as it happens."""
    from penstock import output

    with open_door() as door:
        if after is not None:
            _refuse_pages(context)
            _write_lines(take(partial(door.events, flow_id=flow), "event_id", after, live=live), as_json, _event)
            return
        if live:
            _write_lines(door.follow(flow_id=flow), as_json, _event)
            return
        page = door.events(flow_id=flow, limit=limit, cursor=cursor)
    rows = [_event(event) for event in page.rows]
    columns = ("number", "when", "task", "what", "by", "details")
    output.show_list(as_json, {"events": page.rows, "next": page.next}, columns, rows, "Nothing has happened.")


def _refuse_pages(context: click.Context) -> None:
    for name in ("limit", "cursor"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} goes without --after, which lists everything behind its number")


def _write_lines(
    records: Iterable[Mapping[str, Any]], as_json: bool, cells: Callable[[Mapping[str, Any]], tuple[Any, ...]]
) -> None:
    """A line each, as soon as it is there."""
    for one in records:
        words = "  ".join(str(cell) for cell in cells(one) if cell not in (None, ""))
        click.echo(visible_json(one) if as_json else visible_line(words))


def _event(event: Mapping[str, Any]) -> tuple[Any, ...]:
    from penstock import output

    seq = event["task_exec_seq"]
    task = f"{event['task_flow_id'] or ''}{f'/{seq}' if seq else ''}"
    details = json.dumps(event["details"], ensure_ascii=False) if event["details"] else ""
    return event["event_id"], output.moment(event["event_ts"]), task, event["what"], event["actor"], details
