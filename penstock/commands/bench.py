"""`penstock bench`: how fast this installation is, beside what the database can do bare."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock import options

if TYPE_CHECKING:
    from penstock.bench.found import Found

EXAMPLES = """\b
Examples:
  penstock bench                                      every workload, on a SQLite file that is deleted afterwards
  penstock bench diamond10 --size 5000 --runs 5
  penstock bench queue --watchers 1 --db mysql+pymysql://penstock:secret@localhost/empty --json
  penstock bench diamond10 queue --db sqlite:///empty.db --db postgresql+psycopg://... --chart speed.svg
The database must hold no flows and no workflows: its tables are emptied between measurements.
"""


@click.command("bench", epilog=EXAMPLES)
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD]...")
@click.option(
    "--db",
    "urls",
    metavar="URL",
    multiple=True,
    help="An empty database of its own; repeatable. [default: a SQLite file, deleted at the end]",
)
@click.option("--size", type=click.IntRange(1), help="How much: flows, tasks or branches, as the workload counts.")
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="The medians of so many count.")
@click.option(
    "--watchers",
    type=click.IntRange(1),
    help="Processes that work. [default: one; on a server one for each core, at most four]",
)
@click.option(
    "--chart",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw tasks a second beside the bare limit: FILE.svg or .png. Needs penstock[bench].",
)
@options.json_option
def command(
    workloads: tuple[str, ...],
    urls: tuple[str, ...],
    size: int | None,
    runs: int,
    watchers: int | None,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Measure workloads: diamond10, chain, fan-out, queue, latency, post, clients-1, clients-50, bulk, depth,
    backlog, lists, limits, watchers.

    Registration counts, and durability is the database's own. The limit is what its driver reaches with one bare table
    and the same transactions, in the same run: the ratio says more than the figures, which are of this machine today.
    """
    from penstock import logs, output
    from penstock.bench import chart as draw_chart
    from penstock.bench.workloads import WORKLOADS
    from penstock.garbage import collect_seldom
    from penstock.progress import progress

    for name in workloads:
        if name not in WORKLOADS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(WORKLOADS)}", param_hint="WORKLOAD")
    if chart is not None:
        draw_chart.check(chart)
    logs.set_up("error")
    collect_seldom()
    with progress("{} measured", quiet=as_json) as show:
        found = list(_measured(workloads or tuple(WORKLOADS), urls or (None,), size, runs, watchers, show))
    if chart is not None:
        draw_chart.draw(found, chart)
    if as_json:
        output.echo_json([_facts(item) for item in found])
    else:
        columns = ("workload", "database", "tasks", "watchers", "seconds", "tasks/s", "bare limit", "ratio", "")
        output.console().print(output.table(None, columns, [_row(item) for item in found]))


def _measured(
    workloads: Sequence[str],
    urls: Sequence[str | None],
    size: int | None,
    runs: int,
    watchers: int | None,
    show: Callable[[int], None],
) -> Iterator[Found]:
    """One workload after the other on one database after the other; `show` is told how many are done."""
    from penstock.bench.found import Options
    from penstock.bench.ground import ground
    from penstock.bench.running import usual_watchers
    from penstock.bench.workloads import WORKLOADS

    done = itertools.count(1)
    for url in urls:
        with ground(url) as db:
            for workload in map(WORKLOADS.__getitem__, workloads):
                yield workload.measure(db, Options(size or workload.size, runs, watchers or usual_watchers(db)))
                show(next(done))


def _facts(found: Found) -> dict[str, Any]:
    return {**asdict(found), "ratio_to_limit": found.ratio_to_limit}


def _row(found: Found) -> tuple[str, ...]:
    facts = ", ".join(f"{name} {value:g}" for name, value in found.facts.items())
    limit = "" if found.limit_tasks_per_s is None else f"{found.limit_tasks_per_s:,.0f}"
    ratio = "" if found.ratio_to_limit is None else f"{found.ratio_to_limit:.2f}"
    rates = f"{found.tasks_per_s:,.0f}", limit, ratio
    return found.workload, found.db, f"{found.tasks:,}", str(found.watchers), f"{found.wall_s:.3f}", *rates, facts
