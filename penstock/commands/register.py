"""`penstock register`: start a flow of a workflow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from penstock import options

if TYPE_CHECKING:
    from engine.database import Database
    from engine.flows import Registration

EXAMPLES = """\b
Examples:
  penstock register example
  penstock register example --wait                     watch it; exit 1 if it needs a person
  penstock register load --param DAY=2026-11-21 --priority -5 --run-key 2026-11-21
  penstock register pay --key order-4711               the same key again gives the same flow
"""


@click.command("register", epilog=EXAMPLES)
@click.argument("task_id")
@options.db_option
@options.json_option
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter; repeatable.")
@click.option("--parameters", "document", metavar="JSON", help="All parameters as a JSON object.")
@click.option("--priority", type=click.IntRange(-20, 19), help="Of every task, -20 .. 19, smaller first.")
@click.option("--run-key", help="The period or business key that this flow stands for.")
@click.option("--key", help="Idempotency key: asking again with it gives the same flow.")
@click.option("--wait", is_flag=True, help="Show the tasks until the flow is over.")
@click.option("--timeout", type=float, metavar="S", help="With --wait: give up watching after this many seconds.")
def command(
    task_id: str,
    db_url: str,
    as_json: bool,
    parameters: tuple[str, ...],
    document: str | None,
    priority: int | None,
    run_key: str | None,
    key: str | None,
    wait: bool,
    timeout: float | None,
) -> None:
    """Make a flow of the workflow TASK_ID, for a watcher to run."""
    from engine.flows import Registration
    from penstock import access, output
    from penstock.follow import follow

    wish = Registration(task_id, _parameters(parameters, document), priority, run_key, key)
    with access.database(db_url) as db:
        flow_id, replayed = _register(db, wish)
        told = {"status": "succeeded", "taskId": task_id, "taskFlowId": flow_id, "replayed": replayed}
        if not wait:
            if as_json:
                output.echo_json(told)
            else:
                click.echo(flow_id)
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        flow = follow(db, flow_id, deadline=deadline, quiet=as_json)
    if as_json:
        output.echo_json({**told, "flow": flow})
    raise SystemExit(0 if flow["status"] == "FINISH" else 1)


def _register(db: Database, wish: Registration) -> tuple[str, bool]:
    from engine.errors import PenstockError
    from engine.flows import register

    answer = db.transact(lambda conn: register(conn, db, [wish]))[wish.flow_id]
    if isinstance(answer, PenstockError):
        raise answer
    return answer.flow_id, answer.replayed


def _parameters(pairs: tuple[str, ...], document: str | None) -> dict[str, Any] | None:
    from engine import jsontext

    found: dict[str, Any] = {}
    if document is not None:
        try:
            found |= jsontext.loads_object(document)
        except jsontext.NotJSON as error:
            raise click.BadParameter(f"the text {error}", param_hint="--parameters") from error
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--param")
        found[name] = value
    return found or None
