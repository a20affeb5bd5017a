"""`penstock up`: everything at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import click

from penstock import options
from penstock.access_options import access_options
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
WELCOME_WITH_TOKENS = """\
Penstock is up: {base}  (database {db})
Every request takes a token. Try, in another terminal:
  penstock token create NAME --role admin --db {db}
  curl -H 'Authorization: Bearer TOKEN' {base}/flows
Stop with Ctrl-C."""


@click.command("up", epilog=EXAMPLES)
@options.db_option
@options.server_options
@access_options
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
    access: dict[str, Any],
    **knobs: Any,
) -> None:
    """Create the tables if need be, then serve HTTP and run a watcher in one process, or more beside it.

    A registration wakes this process's watcher at once. The sample workflow posts to this server's own /echo.
    """
    from engine import migrate
    from penstock import fleet, logs, services
    from penstock.access import any_database, refuse_newer
    from penstock.commands import watch
    from register.app import create_app
    from watcher.loop import Watcher

    logs.set_up(log_level, as_json=log_json)
    services.warn_of_variables()
    settings = services.watcher_settings(knobs)
    programs = services.catalogue(plugins, no_plugins)
    check = services.program_check(programs) if check_programs else None
    http = services.server_settings(host, port, db_wait_s=settings.db_wait_s, **access)
    http = replace(http, echo=not http.needs_token)
    with any_database(db_url, "up", timeouts=settings.timeouts) as db:
        services.await_database(db, settings.db_wait_s, schema=False)
        refuse_newer(db)
        migrate.init(db, samples=False)
        services.tell_first_token(db, http)
        watcher = Watcher(db, programs, settings, check)
        others = fleet.Fleet(watchers - 1, db.address, fleet.flags_of(click.get_current_context(), watch.command))

        def stop() -> None:
            watcher.stop()
            others.stop()

        services.on_stop(stop)
        app = create_app(db, http, on_registered=watcher.wake, check=check, programs=partial(services.listed, programs))
        with services.background(app, http) as server:
            if samples and http.echo:  # its third step posts there, without a token
                migrate.init(db, sample_url=f"{server.url}/echo")
            shown = db.url.render_as_string()
            welcome = WELCOME if http.echo else WELCOME_WITH_TOKENS
            click.echo(welcome.format(base=server.url, db=shown), err=True)
            with others:
                services.run_watcher(watcher)
