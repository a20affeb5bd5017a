"""`penstock fsck`: does the database hold what is promised of it? And mend what can be mended safely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from penstock import options
from penstock.durations import DURATION

if TYPE_CHECKING:
    from engine.fsck import Finding, Repair

EXAMPLES = """\b
Examples:
  penstock fsck                        everything that must hold while watchers work
  penstock fsck --at-rest              and that nothing is stuck, once all has run
  penstock fsck --only I10,I11 --flow FLOW
  penstock fsck --repair --dry-run     what would be mended
  penstock fsck --json --since 1h      for a monitor: flows registered in the last hour

\b
Exit codes: 0 nothing found, or all of it repaired · 1 something found · 2 could not check"""
SHOWN = 3
"""Rows of each invariant that the table names."""
CONFIRM_S = 2.0
COULD_NOT = 2
"""The exit code when nothing can be said."""


@click.command("fsck", epilog=EXAMPLES)
@options.db_option
@options.json_option
@click.option("--only", metavar="NAMES", help="These invariants alone, separated by commas: I10,I11.")
@click.option("--at-rest", is_flag=True, help="Also what holds once nothing is left to run, with no work under way.")
@click.option("--flow", "flow_id", metavar="FLOW", help="This flow alone.")
@click.option("--since", type=DURATION, metavar="TIME", help="Flows registered in the last 90s, 30m, 12h, 7d.")
@click.option("--repair", "mend", is_flag=True, help="Mend what can be mended without a person, and look again.")
@click.option("--dry-run", is_flag=True, help="With --repair: say what would be done, and change nothing.")
@click.option("--ignore-blocks", envvar="PENSTOCK_IGNORE_BLOCKS", is_flag=True, help="As the watchers were told.")
def command(
    db_url: str,
    as_json: bool,
    only: str | None,
    at_rest: bool,
    flow_id: str | None,
    since: float | None,
    mend: bool,
    dry_run: bool,
    ignore_blocks: bool,
) -> None:
    """Check the rows against every invariant: nothing lost, nothing run twice, every counter as a recount gives it.

    Reads only, unless told to repair, and does no harm while watchers work: what is found is looked at twice.
    """
    from engine import fsck
    from engine.graph.dependencies import Policy
    from penstock import access, output
    from penstock.failures import exit_on_failure
    from penstock.progress import progress

    if dry_run and not mend:
        raise click.UsageError("--dry-run goes with --repair")
    names = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
    policy = Policy(ignore_satisfies=not ignore_blocks)
    look: dict[str, Any] = {"names": names, "at_rest": at_rest, "flow_id": flow_id, "since_s": since}
    look |= {"policy": policy, "confirm_s": CONFIRM_S}
    repairs: list[Repair] = []
    failing = exit_on_failure(as_json=as_json, always=COULD_NOT)
    with failing, access.database(db_url, "fsck") as db, progress("{} pages checked", quiet=as_json) as show:
        findings = left = fsck.check(db, **look, on_page=show)
        if mend and findings:
            repairs = fsck.repair(db, findings, dry_run=dry_run, policy=policy)
            left = findings if dry_run else fsck.check(db, **look, on_page=show)
    if as_json:
        output.echo_json(_document(findings, left, repairs))
    else:
        _show(findings, repairs)
    raise SystemExit(1 if left else 0)


def _document(findings: Sequence[Finding], left: Sequence[Finding], repairs: Sequence[Repair]) -> dict[str, Any]:
    return {
        "clean": not left,
        "findings": [
            {
                "name": finding.name,
                "statement": finding.invariant.statement,
                "severity": finding.invariant.severity,
                "violations": finding.count,
                "rows": [
                    {"taskFlowId": one.flow_id, "taskExecSeq": one.seq, **one.facts} for one in finding.violations[:100]
                ],
                "remedy": finding.invariant.remedy,
            }
            for finding in findings
        ],
        "repairs": [asdict(repair) for repair in repairs],
        "left": {finding.name: finding.count for finding in left},
    }


def _show(findings: Sequence[Finding], repairs: Sequence[Repair]) -> None:
    from penstock import output

    if not findings:
        click.echo("Every invariant holds.", err=True)
        return
    columns = ("name", "does not hold", "rows", "first", "what to do")
    rows = [
        (one.name, one.invariant.statement, f"{one.count:,}", _first(one), one.invariant.remedy) for one in findings
    ]
    output.console().print(output.table(None, columns, rows))
    if repairs:
        done = [(one.name, f"{one.flow_id}/{one.seq}", str(one.outcome), one.what) for one in repairs]
        click.echo()
        output.console().print(output.table(None, ("name", "row", "outcome", "what"), done))


def _first(finding: Finding) -> str:
    names = ", ".join(f"{one.flow_id}/{one.seq}" for one in finding.violations[:SHOWN])
    return names if finding.count <= SHOWN else f"{names} ..."
