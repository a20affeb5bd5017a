"""`penstock up`: everything at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from penstock import options
from penstock.watcher_options import watcher_options

MAX_WATCHERS = 64
EXAMPLES = """\b
Examples:
  penstock up                                       a SQLite file in this folder
  penstock up --db postgresql+psycopg://penstock@localhost/penstock --port 8080
  penstock up --watchers 4                          four processes, for programs that keep a core busy
"""
WELCOME = """\
Penstock is up: {base}  (database {db})
Try, in another terminal:
  curl -X POST {base}/register/example      start the sample workflow
  penstock ps --db {db}
  penstock ps FLOW --follow --db {db}
Stop with Ctrl-C."""


@click.command("up", epilog=EXAMPLES)
@options.db_option
@options.server_options
@options.check_option
@watcher_options
@options.plugin_options
@options.log_options
@click.option(
    "--watchers",
    envvar="PENSTOCK_WATCHERS",
    type=click.IntRange(1, MAX_WATCHERS),
    default=1,
    show_default=True,
    help="How many watchers; those beyond the first are processes of their own, started again if they end.",
)
@click.option("--samples/--no-samples", default=True, show_default=True, help="Load the sample workflow `example`.")
def command(
    db_url: str,
    host: str | None,
    port: int | None,
    check_programs: bool,
    plugins: str | None,
    no_plugins: bool,
    log_level: str,
    log_json: bool,
    watchers: int,
    samples: bool,
    **knobs: Any,
) -> None:
    """Create the tables if need be, then serve HTTP and run a watcher in one process, or more beside it.

    A registration wakes this process's watcher at once. The sample workflow posts to this server's own /echo.
    """
    from engine import migrate
    from penstock import access, fleet, logs, services
    from penstock.commands import watch
    from register.app import create_app
    from watcher.loop import Watcher

    logs.set_up(log_level, as_json=log_json)
    services.warn_of_variables()
    settings = services.watcher_settings(knobs)
    programs = services.catalogue(plugins, no_plugins)
    check = services.program_check(programs) if check_programs else None
    http = services.server_settings(host, port, echo=True, db_wait_s=settings.db_wait_s)
    with access.any_database(db_url, "up", timeouts=settings.timeouts) as db:
        services.await_database(db, settings.db_wait_s, schema=False)
        access.refuse_newer(db)
        migrate.init(db, samples=False)
        watcher = Watcher(db, programs, settings, check)
        others = fleet.Fleet(watchers - 1, db.address, fleet.flags_of(click.get_current_context(), watch.command))

        def stop() -> None:
            watcher.stop()
            others.stop()

        services.on_stop(stop)
        app = create_app(db, http, on_registered=watcher.wake, check=check, programs=partial(services.listed, programs))
        with services.background(app, http) as server:
            if samples:
                migrate.init(db, sample_url=f"{server.url}/echo")
            shown = db.url.render_as_string()
            click.echo(WELCOME.format(base=server.url, db=shown), err=True)
            with others:
                services.run_watcher(watcher)
