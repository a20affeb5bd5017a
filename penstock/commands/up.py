"""`penstock up`: everything at once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from penstock import options
from penstock.service_options import service_options
from penstock.watcher_options import watcher_options

if TYPE_CHECKING:
    from engine.database import Database
    from penstock.fleet import Fleet
    from register.settings import Settings as ServerSettings

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
@service_options
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
    service: dict[str, Any],
    check_programs: bool,
    plugins: str | None,
    no_plugins: bool,
    watchers: int,
    samples: bool,
    **knobs: Any,
) -> None:
    """Create the tables if need be, then serve HTTP and run a watcher in one process, or more beside it.

    A registration wakes this process's watcher at once. The sample workflow posts to this server's own /echo, and to
    that address and port programs may send requests; --no-samples leaves both out.
    """
    from penstock import loading, services
    from penstock.access import any_database
    from register.app import create_app
    from watcher.loop import Watcher

    services.warn_of_variables()
    settings = services.watcher_settings(knobs)
    http = services.server_settings(**service, db_wait_s=settings.db_wait_s)
    http = replace(http, echo=not http.needs_token)
    loading.refuse_unlisted(http, plugins, no_plugins)
    programs = services.catalogue(plugins, no_plugins)
    check = services.program_check(programs) if check_programs else None
    with any_database(db_url, "up", timeouts=settings.timeouts) as db:
        loading.tell_of_plugins(plugins, no_plugins, db.url.host)
        _make_ready(db, http)
        watcher = Watcher(db, programs, settings, check)
        others = _further(watchers - 1, db)

        def stop() -> None:
            watcher.stop()
            others.stop()

        services.on_stop(stop)
        app = create_app(db, http, on_registered=watcher.wake, check=check, programs=partial(services.listed, programs))
        with services.background(app, http) as server:
            _welcome(db, server.url, http, samples=samples)
            if samples and http.echo:  # the sample posts there
                own = urlsplit(server.url).netloc
                watcher.let_programs_reach(own)
                others.tell(f"--http-network={own}")
            with others:
                services.run_watcher(watcher)


def _make_ready(db: Database, http: ServerSettings) -> None:
    """Wait for the database, and bring its tables up to date."""
    from engine import migrate
    from penstock import services
    from penstock.access import refuse_newer

    services.await_database(db, http.db_wait_s, schema=False)
    refuse_newer(db)
    migrate.init(db, samples=False)
    services.tell_first_token(db, http)


def _further(count: int, db: Database) -> Fleet:
    """Watchers beside the one in this process, told what this command was told."""
    from penstock.commands import watch
    from penstock.fleet import Fleet, flags_of

    return Fleet(count, db.address, flags_of(click.get_current_context(), watch.command))


def _welcome(db: Database, url: str, http: ServerSettings, *, samples: bool) -> None:
    from engine import migrate
    from penstock import output

    if samples and http.echo:  # its third step posts there, without a token
        migrate.init(db, sample_url=f"{url}/echo")
    words = WELCOME if http.echo else WELCOME_WITH_TOKENS
    output.say(words.format(base=url, db=db.url.render_as_string()), err=True)
