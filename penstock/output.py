"""How results look: JSON for programs, tables for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.visible import visible, visible_json

STYLES = {"WAIT": "dim", "RUNNING": "bold cyan", "SUSPEND": "bold red", "FINISH": "green", "IGNORE": "yellow"}
GLYPHS = {"WAIT": "·", "RUNNING": "▶", "SUSPEND": "✖", "FINISH": "✔", "IGNORE": "⤼"}


def echo_json(value: Any) -> None:
    click.echo(visible_json(value, indent=2, default=str))


def say(text: str, *, bold: bool = False, fg: str | None = None, nl: bool = True, err: bool = False) -> None:
    """A line with texts of others in it."""
    click.secho(visible(text), bold=bold or None, fg=fg, nl=nl, err=err)


def console() -> Console:
    """A terminal's own width; wide enough for a whole line where the output goes elsewhere."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 240)


def show_list(
    as_json: bool, document: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]], nothing: str
) -> None:
    """A list as JSON (`document`), or as a table; `nothing` is said on stderr where it is empty."""
    if as_json:
        echo_json(document)
    elif not rows:
        click.echo(nothing, err=True)
    else:
        console().print(table(None, columns, rows))


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A plain table; cells may be text, numbers, None or rich Text. Markup, in the title too, is shown, not obeyed."""
    heading = None if title is None else Text(visible(title))
    made = Table(*columns, title=heading, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        made.add_row(
            *(cell if isinstance(cell, Text) else Text("" if cell is None else visible(str(cell))) for cell in row)
        )
    return made


def status(name: str) -> Text:
    """A status by glyph, word and colour, so that none of the three is needed alone."""
    return Text(f"{GLYPHS.get(name, '?')} {name}", style=STYLES.get(name, ""))


def flow_table(flows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("flow", "workflow", "status", "tasks", "failed", "registered", "took")
    return table(None, columns, [_flow_row(flow) for flow in flows])


def _flow_row(flow: Mapping[str, Any]) -> Sequence[Any]:
    done = flow["finish_count"] + flow["ignore_count"]
    return (
        flow["task_flow_id"],
        flow["task_id"],
        status(flow["status"]),
        f"{done}/{flow['task_count']}",
        flow["suspend_count"] or "",
        moment(flow["registered_ts"]),
        duration(flow["started_ts"], flow["finished_ts"]),
    )


def task_table(flow: Mapping[str, Any]) -> Table:
    """The tasks of one flow under a line about the flow."""
    why = f" ({flow['reason']})" if flow.get("reason") else ""
    title = f"{flow['task_id']}  {flow['task_flow_id']}  {flow['status']}{why}"
    steps = [_step(task) for task in flow["tasks"]]
    if not any(steps):  # a chain as Flower has it needs no column for it
        columns = ("seq", "after", "program", "status", "why", "prio", "tries", "started", "took")
        return table(title, columns, [_task_row(task) for task in flow["tasks"]])
    named = ("seq", "after", "step", "program", "status", "why", "prio", "tries", "started", "took")
    rows = [(*row[:2], step, *row[2:]) for row, step in zip(map(_task_row, flow["tasks"]), steps, strict=True)]
    return table(title, named, rows)


def _step(task: Mapping[str, Any]) -> str:
    """What tells a task from others of its program: name or phase, the round of its loop, the run of its step."""
    parts = [task["name"] or task["phase"] or ""]
    parts += [f"round {task['iteration'] + 1}"] if task["iteration"] else []
    parts += [f"run {task['generation'] + 1}"] if task["generation"] else []
    return ", ".join(part for part in parts if part)


def _task_row(task: Mapping[str, Any]) -> Sequence[Any]:
    why = task["error"] or task["reason"] or ""
    return (
        task["task_exec_seq"],
        _shortened(task["depends"]),
        task["program"],
        status(task["status"]),
        why.splitlines()[0][:60] if why else "",
        task["task_priority"],
        task["claims"],
        moment(task["started_ts"]),
        duration(task["started_ts"], task["finished_ts"] or task["suspended_ts"]),
    )


def _shortened(seqs: Sequence[int], most: int = 8) -> str:
    """The numbers; of many, as behind a fan-out, the first few and how many more there are."""
    shown = ",".join(map(str, seqs[:most]))
    return shown if len(seqs) <= most else f"{shown} ... {len(seqs) - most:,} more"


def moment(instant: str | None) -> str:
    """An instant as local time of day, with the date unless it is today."""
    if instant is None:
        return ""
    local = datetime.fromisoformat(instant).astimezone()
    return local.strftime("%H:%M:%S" if local.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M:%S")


def duration(start: str | None, end: str | None) -> str:
    if start is None:
        return ""
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    seconds = max(0.0, (until - datetime.fromisoformat(start)).total_seconds())
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
