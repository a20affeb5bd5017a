"""`penstock prune`: delete flows that ended long ago."""

from __future__ import annotations

import click

from penstock import options
from penstock.durations import DURATION

EXAMPLES = """\b
Examples:
  penstock prune --older-than 30d --dry-run        how many would go
  penstock prune --older-than 30d
  penstock prune --older-than 12h --workflow load --status finished
Watchers do it by themselves with --retention 30d, or by ms_workflow.retention_s.
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
@click.option("--dry-run", is_flag=True, help="Count, and delete nothing.")
@click.option(
    "--batch", type=click.IntRange(1, 500), default=100, show_default=True, help="Flows of one transaction, at most."
)
def command(
    db_url: str,
    as_json: bool,
    older_than: float,
    workflow: str | None,
    status: str,
    dry_run: bool,
    batch: int,
) -> None:
    """Delete ended flows with all their tasks, tries, waits and events, in small transactions, beside running watchers.

    What is under way, suspended, or part of a flow that is, stays; so does a flow with a key for its first seven days.
    """
    from engine import retention
    from penstock import access, output
    from penstock.progress import progress

    statuses = retention.FINISHED if status == "finished" else retention.ENDED
    wanted = retention.Wanted(older_than, workflow, statuses)
    with access.database(db_url) as db, progress("{} flows", quiet=as_json) as show:
        pruned = retention.prune(db, wanted, dry_run=dry_run, batch=batch, on_batch=lambda so_far: show(so_far.flows))
    if as_json:
        output.echo_json({"flows": pruned.flows, "tasks": pruned.tasks, "dryRun": dry_run})
    else:
        verb = "would be deleted" if dry_run else "deleted"
        output.say(f"{pruned.flows:,} flows with {pruned.tasks:,} tasks {verb}")
