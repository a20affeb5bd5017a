"""`penstock check`: find everything that is wrong at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from penstock import options
from penstock.watcher_options import watcher_options

EXAMPLES = """\b
Examples:
  penstock check
  penstock check --db mysql+pymysql://penstock:secret@localhost/penstock --json
"""
_MARKS = {"ok": ("✔", "green"), "warning": ("!", "yellow"), "problem": ("✖", "red")}


@click.command("check", epilog=EXAMPLES)
@options.flower_db_options
@options.db_option
@watcher_options
@options.plugin_options
@options.json_option
def command(db_url: str, plugins: str | None, no_plugins: bool, as_json: bool, **knobs: Any) -> None:
    """Examine settings, programs, database, schema and definitions; exit 1 if anything is a problem."""
    from penstock import checkup, output

    found = checkup.examine(db_url, knobs, plugins, no_plugins)
    if as_json:
        output.echo_json([asdict(finding) for finding in found])
    else:
        for finding in found:
            mark, colour = _MARKS[finding.level]
            remedy = f"  ({finding.remedy})" if finding.remedy else ""
            output.say(f"{mark} ", fg=colour, nl=False)
            output.say(f"{finding.area}: {finding.words}{remedy}")
    raise SystemExit(1 if any(finding.level == "problem" for finding in found) else 0)
