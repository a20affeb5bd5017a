"""`penstock plugins`: which plugins are installed, which are loaded, and what may be written into the allow-list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from penstock import options

if TYPE_CHECKING:
    from programs.survey import Surveyed

EXAMPLES = """\b
Examples:
  penstock plugins
  penstock plugins --json                         with everything, for programs to read
  penstock plugins --plugins penstock-foo==1.2    would this list let it in?
"""


@click.command("plugins", epilog=EXAMPLES)
@options.plugin_options
@options.json_option
def command(plugins: str | None, no_plugins: bool, as_json: bool) -> None:
    """List the installed plugins: loaded or why not, programs, hooks, where from, and a hash over the files.

    Exit 1 if anything is wrong with them. The last line is the list that lets in what is loaded now and nothing else.
    """
    from penstock import output
    from programs.survey import survey

    found = survey(options.plugin_list(plugins), autoload=not no_plugins)
    if as_json:
        output.echo_json([asdict(one) for one in found])
    elif not found:
        click.echo("No plugins are installed: programs are the built-in ones.", err=True)
    else:
        for one in found:
            _show(one)
        if pins := [one.pin for one in found if one.loaded and one.pin]:
            output.say(f"PENSTOCK_PLUGINS={','.join(pins)}")
    raise SystemExit(1 if any(one.problems for one in found) else 0)


def _show(one: Surveyed) -> None:
    from penstock import output

    state = "loaded" if one.loaded else "not loaded"
    output.say(f"{one.name} {one.version or ''}".rstrip() + f": {state}, {one.why}", bold=True)
    for what, words in _lines(one):
        output.say(f"  {what:<13}{words}")
    click.echo()


def _lines(one: Surveyed) -> Iterator[tuple[str, str]]:
    if one.location is not None:
        yield "entry points", ", ".join(f"{name} = {value}" for name, value in one.entry_points.items())
        unknown = "none" if one.loaded else "known only once it is imported"
        yield "programs", ", ".join(one.programs) or unknown
        yield "hooks", ", ".join(one.hooks) or unknown
        by = f", by {one.installer}" if one.installer else ""
        origin = f" from {one.origin}" if one.origin else ""
        yield "installed in", f"{one.location}{by}{origin}{', editable' if one.editable else ''}"
        yield "sha256", one.sha256 or f"none: {one.no_hash}"
    for path in one.changed:
        yield "changed", f"{path} is not as it was installed"
    for problem in one.problems:
        yield "problem", problem
