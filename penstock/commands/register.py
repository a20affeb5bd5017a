"""`penstock register`: start a flow of a workflow."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any

import click

from penstock.door_options import Opened, door_options
from penstock.subjects import pairs

EXAMPLES = """\b
Examples:
  penstock register example
  penstock register example --wait                     watch it; exit 1 if it needs a person
  penstock register load --param DAY=2026-11-21 --priority -5 --run-key 2026-11-21
  penstock register pay --key order-4711               the same key again gives the same flow
  penstock register load --count 10000                 so many flows alike
  penstock register load --from days.ndjson            one for each line, such as {"runKey": "2026-11-21"}
"""


@click.command("register", epilog=EXAMPLES)
@click.argument("task_id")
@door_options
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter; repeatable.")
@click.option("--parameters", "document", metavar="JSON", help="All parameters as a JSON object.")
@click.option("--priority", type=click.IntRange(-20, 19), help="Of every task, -20 .. 19, smaller first.")
@click.option("--run-key", help="The period or business key that this flow stands for.")
@click.option("--tag", "tags", multiple=True, help="A word that the flow can be found by; repeatable.")
@click.option("--key", help="Idempotency key: asking again with it gives the same flow.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Make so many flows alike.")
@click.option(
    "--from",
    "path",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Make a flow for each line of FILE (- for standard input): a JSON object with any of parameters, priority, "
    "runKey, idempotencyKey, tags.",
)
@click.option("--wait", is_flag=True, help="Show the tasks until the flow is over.")
@click.option("--timeout", type=float, metavar="S", help="With --wait: give up watching after this many seconds.")
def command(
    task_id: str,
    open_door: Opened,
    as_json: bool,
    parameters: tuple[str, ...],
    document: str | None,
    priority: int | None,
    run_key: str | None,
    tags: tuple[str, ...],
    key: str | None,
    count: int | None,
    path: str | None,
    wait: bool,
    timeout: float | None,
) -> None:
    """Make a flow of the workflow TASK_ID, for a watcher to run.

    With --count or --from many are made, some hundred in each transaction, and their ids printed line by line; --key
    then gives each a key of its own, so that the same command again makes those that are missing.
    """
    told = {"parameters": _parameters(parameters, document), "priority": priority, "run_key": run_key, "tags": [*tags]}
    wish = {name: value for name, value in told.items() if value not in (None, [])}
    if count is None and path is None:
        wish |= {} if key is None else {"idempotency_key": key}
        _register_one(open_door, task_id, wish, as_json=as_json, wait=wait, timeout_s=timeout)
        return
    if wait:
        raise click.UsageError("--wait watches one flow: leave it out, and look with `penstock ps`")
    if path is not None and (count is not None or wish):
        raise click.UsageError("with --from, each line says itself what its flow is to be: leave the other options out")
    _register_many(open_door, task_id, itertools.repeat(wish, count or 0) if path is None else path, key, as_json)


def _register_one(
    open_door: Opened, task_id: str, wish: dict[str, Any], *, as_json: bool, wait: bool, timeout_s: float | None
) -> None:
    from penstock import output
    from penstock.follow import follow

    with open_door() as door:
        answer = door.ask("register", task_id, wish)
        flow_id = answer["task_flow_id"]
        told = {"status": "succeeded", "taskId": task_id, "taskFlowId": flow_id, "replayed": answer["replayed"]}
        if not wait:
            if as_json:
                output.echo_json(told)
            else:
                output.say(flow_id)
            return
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        flow = follow(door, flow_id, deadline=deadline, quiet=as_json)
    if as_json:
        output.echo_json({**told, "flow": flow})
    raise SystemExit(0 if flow["status"] == "FINISH" else 1)


def _register_many(
    open_door: Opened, task_id: str, wishes: str | Iterable[dict[str, Any]], key: str | None, as_json: bool
) -> None:
    """`wishes`: what each flow is to be, or the file of which each line says it."""
    from penstock import many, output
    from penstock.progress import progress

    each: Iterable[Any] = many.lines_of(wishes) if isinstance(wishes, str) else wishes
    began = time.monotonic()
    with open_door() as door, progress("{} flows", quiet=as_json) as show:
        tally = many.register_many(door, task_id, each, key, show)
    if tally.error is not None and not tally.registered:
        raise tally.error
    if as_json:
        output.echo_json(tally.document(task_id))
    else:
        many.report(tally, time.monotonic() - began)
    if tally.refused:
        raise SystemExit(4)


def _parameters(given: tuple[str, ...], document: str | None) -> dict[str, Any] | None:
    from engine import jsontext

    found: dict[str, Any] = {}
    if document is not None:
        try:
            found |= jsontext.loads_object(document)
        except jsontext.NotJSON as error:
            raise click.BadParameter(f"the text {error}", param_hint="--parameters") from error
    found |= pairs(given)
    return found or None
