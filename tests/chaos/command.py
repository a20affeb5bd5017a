"""The command line: run a private installation under faults, and check what came of it.

The last line is the verdict; the exit code is 0 only when nothing was violated.
"""

from __future__ import annotations

import json
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from tests.chaos import story
from tests.chaos.history import History, Violation
from tests.chaos.options import DATABASES, EXECUTORS, Options
from tests.chaos.run import run
from tests.chaos.schedule import KINDS
from tests.chaos.shapes import MIXES
from tests.chaos.verdict import Verdict

MOST_STORIES = 3
SHOWN = ("faults", "failpoints", "explanations", "recovery_s", "answers", "answer_s", "quiet_after_s", "stalls")
MOST_SHOWN = 20


@click.command(context_settings={"show_default": True})
@click.option("--db", type=click.Choice([*DATABASES, "all"]), default="sqlite")
@click.option("--kills", type=click.IntRange(0), default=100, help="End after so many SIGKILLs.")
@click.option("--seconds", type=float, default=600.0, help="End after so long, at the latest.")
@click.option("--seed", type=int, help="Of the schedule, the load and the failpoints; printed.")
@click.option("--executor", type=click.Choice(EXECUTORS), default="thread")
@click.option("--shape", type=click.Choice(list(MIXES)), default="mixed")
@click.option("--faults", default="", metavar="KINDS", help=f"Only these, by commas: {', '.join(KINDS)}, failpoint.")
@click.option("--kills-per-s", type=float, default=1.0)
@click.option("--flows-per-s", type=float, default=6.0)
@click.option("--lease-s", type=float, default=4.0)
@click.option("--heartbeat-s", type=float, default=1.0)
@click.option("--tree", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Run this source tree.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the verdicts there.")
@click.option("--keep", type=click.Path(path_type=Path), help="Copy logs, journal and effects to this folder.")
def main(db: str, seed: int | None, faults: str, tree: Path | None, json_file: Path | None, **given: object) -> None:
    """Kill, freeze, cut off and refill a private Penstock, and check that nothing was lost."""
    signal.signal(signal.SIGTERM, _interrupt)
    keep = given.pop("keep")
    assert keep is None or isinstance(keep, Path)
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    wanted = tuple(kind.strip() for kind in faults.split(",") if kind.strip())
    if unknown := set(wanted) - {*KINDS, "failpoint"}:
        raise click.UsageError(f"no fault is called {', '.join(sorted(unknown))}: --help names them")
    verdicts = []
    for kind in DATABASES if db == "all" else (db,):
        options = Options(db=kind, seed=seed, faults=wanted, **given)  # type: ignore[arg-type]
        options = options if tree is None else Options(**{**vars(options), "tree": tree.resolve()})
        click.echo(f"seed {seed}: {options.replay}")
        history, found = run(options, keep=keep / kind if keep is not None else None)
        _tell(history, found)
        verdicts.append(found)
        if json_file is not None:
            json_file.write_text(json.dumps([item.facts for item in verdicts], indent=1, default=str) + "\n")
    for found in verdicts:
        click.echo(found.line)
    sys.exit(0 if all(found.clean for found in verdicts) else 1)


def _tell(history: History, found: Verdict) -> None:
    facts = found.facts
    for name in SHOWN:
        click.echo(f"  {name}: {facts[name]}")
    for violation in found.violations[:MOST_SHOWN]:
        click.echo(f"VIOLATION {violation}")
    if len(found.violations) > MOST_SHOWN:
        click.echo(f"... and {len(found.violations) - MOST_SHOWN} more")
    for violation in _worth_telling(found.violations):
        click.echo(story.tell(history, violation.flow, violation.seq))
    if found.violations:
        click.echo(f"again: {facts['replay']}")


def _worth_telling(violations: Sequence[Violation]) -> list[Violation]:
    """One violation of each invariant that concerns a flow, the first ones."""
    first: dict[str, Violation] = {}
    for violation in violations:
        if violation.flow is not None:
            first.setdefault(violation.name, violation)
    return list(first.values())[:MOST_STORIES]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
