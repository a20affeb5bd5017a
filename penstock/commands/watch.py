"""`penstock watch`: run a watcher."""

from __future__ import annotations

from typing import Any

import click

from penstock import options
from penstock.watcher_options import watcher_options

EXAMPLES = """\b
Examples:
  penstock watch
  penstock watch --db postgresql+psycopg://penstock@localhost/penstock --workers 20
  penstock watch --interval 0.2 --workers 10 --limit 5 --max-active nightly=1
  penstock watch --until-idle            run what there is to run, then exit
"""


@click.command("watch", epilog=EXAMPLES)
@options.flower_db_options
@options.db_option
@watcher_options
@options.plugin_options
@options.log_options
@click.option("--with-parent", is_flag=True, hidden=True, help="As a member of `penstock up --watchers`.")
@click.option("--until-idle", is_flag=True, help="Exit once nothing can be done now; what waits for a time stays.")
def command(
    db_url: str,
    plugins: str | None,
    no_plugins: bool,
    until_idle: bool,
    with_parent: bool,
    **knobs: Any,
) -> None:
    """Claim ready tasks and run their programs, until SIGTERM or SIGINT.

    The first signal stops claiming and lets running tasks finish within --grace; a second one hands them back at once.
    """
    from penstock import access, fleet, loading, services
    from watcher.loop import CONNECTIONS, Watcher

    services.warn_of_variables()
    settings = services.watcher_settings(knobs)
    programs = services.catalogue(plugins, no_plugins)
    if with_parent and db_url == fleet.FROM_PARENT:
        db_url = fleet.told_by_parent()
    with access.any_database(db_url, "watcher", connections=CONNECTIONS, timeouts=settings.timeouts) as db:
        if not with_parent:  # which has told
            loading.tell_of_plugins(plugins, no_plugins, db.url.host)
        watcher = Watcher(db, programs, settings, services.program_check(programs))
        services.on_stop(watcher.stop)
        if with_parent:
            fleet.stop_with_parent(watcher.stop)
        services.run_watcher(watcher, until_idle=until_idle)
