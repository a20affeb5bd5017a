"""`penstock work`: run a remote worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from penstock import options
from penstock.watcher_options import worker_options

if TYPE_CHECKING:
    from programs.catalogue import Catalogue

EXAMPLES = """\b
Examples:
  PENSTOCK_TOKEN_FILE=worker.token penstock work --url https://penstock.example
  penstock work --url http://localhost:8000 --queue images --threads 4 --program resize
  penstock work --url http://localhost:8000 --until-idle     run what there is to run, then exit
"""


@click.command("work", epilog=EXAMPLES)
@click.option("--url", envvar="PENSTOCK_URL", required=True, help="The service, as penstock serve or up serve it.")
@click.option(
    "--token",
    envvar="PENSTOCK_TOKEN",
    help="An API token with the role worker; better in PENSTOCK_TOKEN, or in a file that PENSTOCK_TOKEN_FILE names.",
)
@click.option("--queue", "queues", envvar="PENSTOCK_QUEUES", multiple=True, help="Serve this queue; repeatable.")
@click.option("--program", "only", multiple=True, metavar="NAME", help="Run this program only; repeatable.")
@click.option("--threads", type=click.IntRange(1, 1_000), default=8, show_default=True, help="Tasks at once.")
@click.option(
    "--lease", "lease_s", type=float, default=20.0, show_default=True, help="Seconds until silence means dead."
)
@click.option(
    "--grace", "grace_s", type=float, default=10.0, show_default=True, help="Seconds to finish in after SIGTERM."
)
@click.option("--label", envvar="PENSTOCK_LABEL", default="", help="A name for people to know this worker by.")
@worker_options
@click.option("--until-idle", "--halt-on-no-work", is_flag=True, help="Exit once there is nothing more to claim.")
@options.plugin_options
@options.log_options
def command(
    url: str,
    token: str | None,
    only: tuple[str, ...],
    until_idle: bool,
    plugins: str | None,
    no_plugins: bool,
    **knobs: Any,
) -> None:
    """Run the installed programs for a service that is reached by HTTP, until SIGTERM or SIGINT.

    The first signal stops claiming and lets running tasks finish within --grace; a second one hands them back at once.
    """
    from penstock import loading, services
    from penstock.door_options import usual_token
    from penstock.failures import CannotStart
    from penstock.garbage import collect_seldom
    from penstock.worker import Worker
    from penstock.worker_session import GivenUp, ServiceRefused

    programs = _only(services.catalogue(plugins, no_plugins), only)
    loading.tell_of_plugins(plugins, no_plugins, urlsplit(url).hostname)
    given = {name: value for name, value in knobs.items() if value not in (None, ())}  # else the worker's own default
    try:
        worker = Worker(url, usual_token(token), programs=programs, **given)
    except ValueError as error:
        raise CannotStart(f"--http-network: {error}") from error
    services.on_stop(worker.stop)
    collect_seldom()
    try:
        worker.run(until_idle=until_idle, handle_signals=False)
    except (ServiceRefused, GivenUp) as error:
        raise CannotStart(str(error)) from error


def _only(programs: Catalogue, names: tuple[str, ...]) -> Catalogue:
    """Errors: CannotStart for a program that is not installed."""
    from penstock.failures import CannotStart
    from programs.catalogue import Catalogue

    if missing := sorted(set(names) - programs.keys()):
        raise CannotStart(f"no program is called {missing[0]!r}: install the plugin that has it")
    if not names:
        return programs
    return Catalogue({name: programs[name] for name in names}, programs.source, programs.secret_of)
