"""`penstock prune`: delete flows that ended long ago, or records of long ago."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from penstock import options
from penstock.durations import DURATION

EXAMPLES = """\b
Examples:
  penstock prune --older-than 30d --dry-run        how many would go
  penstock prune --older-than 30d
  penstock prune --older-than 12h --workflow load --status finished
  penstock prune --records --older-than 400d
Watchers delete flows by themselves with --retention 30d, or by ms_workflow.retention_s.
"""


@click.command("prune", epilog=EXAMPLES)
@options.db_option
@options.json_option
@click.option("--older-than", type=DURATION, required=True, metavar="TIME", help="Ended so long ago: 90s, 12h, 30d.")
@click.option("--workflow", metavar="TASK_ID", help="Flows of this workflow only, with their sub-flows.")
@click.option(
    "--status",
    type=click.Choice(["finished", "ended"]),
    default="ended",
    show_default=True,
    help="finished: those that were cancelled, timed out or rolled back are kept.",
)
@click.option(
    "--records",
    is_flag=True,
    help="Instead of flows: commands, and events of no flow, that are so old. Takes the account that owns the tables.",
)
@click.option("--dry-run", is_flag=True, help="Count, and delete nothing.")
@click.option(
    "--batch", type=click.IntRange(1, 500), default=100, show_default=True, help="Flows of one transaction, at most."
)
@click.pass_context
def command(
    context: click.Context,
    db_url: str,
    as_json: bool,
    older_than: float,
    workflow: str | None,
    status: str,
    records: bool,
    dry_run: bool,
    batch: int,
) -> None:
    """Delete ended flows with all their tasks, tries, waits and events, in small transactions, beside running watchers.

    What is under way, suspended, or part of a flow that is, stays; so does a flow with a key for its first seven days.
    Records of who did what stay too, until they are asked for by --records.
    """
    from engine import retention
    from penstock import access, asker, output
    from penstock.progress import progress

    if records:
        _prune_records(context, db_url, as_json, older_than, dry_run)
        return
    statuses = retention.FINISHED if status == "finished" else retention.ENDED
    wanted = retention.Wanted(older_than, workflow, statuses)
    with access.database(db_url) as db, progress("{} flows", quiet=as_json) as show:
        options: dict[str, Any] = {"by": f"cli:{asker.user()}", "dry_run": dry_run, "batch": batch}
        pruned = retention.prune(db, wanted, **options, on_batch=lambda so_far: show(so_far.flows))
    if as_json:
        output.echo_json({"flows": pruned.flows, "tasks": pruned.tasks, "dryRun": dry_run})
    else:
        verb = "would be deleted" if dry_run else "deleted"
        output.say(f"{pruned.flows:,} flows with {pruned.tasks:,} tasks {verb}")


def _prune_records(context: click.Context, db_url: str, as_json: bool, older_than: float, dry_run: bool) -> None:
    from engine import retention
    from penstock import access, asker, output
    from penstock.progress import progress

    for name in ("workflow", "status", "batch"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} is about flows, and goes without --records")
    with access.database(db_url) as db, progress("{} records", quiet=as_json) as show:
        gone = retention.prune_records(db, older_than, by=f"cli:{asker.user()}", dry_run=dry_run, on_batch=show)
    if as_json:
        output.echo_json({"commands": gone.commands, "events": gone.events, "dryRun": dry_run})
    else:
        verb = "would be deleted" if dry_run else "deleted"
        output.say(f"{gone.commands:,} commands and {gone.events:,} events of no flow {verb}")
