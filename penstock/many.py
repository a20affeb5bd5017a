"""Register many flows of one workflow at once, a few hundred in each transaction."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click

from engine.database import Database
from engine.flows import Registration
from register.bulk import TOGETHER, Tally, wishes_of
from register.commits import commit_all


def register_many(
    db: Database,
    task_id: str,
    documents: Iterable[bytes | Mapping[str, Any]],
    key: str | None,
    show: Callable[[int], None],
) -> Tally:
    """Make a flow for each document, as `POST /register/<task_id>` does for each line; `show` is told how many are
    through. Errors: none of a single registration, these are in the tally."""
    tally = Tally()
    left = iter(documents)
    while part := list(itertools.islice(left, TOGETHER)):
        wishes = wishes_of(task_id, part, key, start=len(tally.flow_ids))
        outcomes = commit_all(db, [wish for wish in wishes if isinstance(wish, Registration)])
        for wish in wishes:
            tally.add(wish, outcomes[wish.flow_id] if isinstance(wish, Registration) else wish)
        show(len(tally.flow_ids))
    return tally


def lines_of(path: str) -> Iterator[bytes]:
    """The lines of a file, or of standard input for `-`, without those that are blank. Errors: click's, by name."""
    with click.open_file(path, "rb") as source:
        for line in source:
            if line.strip():
                yield line


def report(tally: Tally, took_s: float) -> None:
    """The ids on standard output, one on each line; what else there is to say beside it."""
    click.echo("".join(f"{flow_id}\n" for flow_id in tally.flow_ids if flow_id is not None), nl=False)
    for place, _, error in tally.told:
        click.echo(f"penstock: number {place + 1}: {error}", err=True)
    rate = tally.registered / max(took_s, 0.001)
    words = f"{tally.registered:,} registered in {took_s:.1f} s ({rate:,.0f}/s)"
    click.echo(words + (f", {tally.refused:,} refused" if tally.refused else ""), err=True)
