"""`penstock serve`: run the register service."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from penstock import options
from penstock.access_options import access_options

EXAMPLES = """\b
Examples:
  penstock serve
  penstock serve --db mysql+pymysql://penstock:secret@localhost/penstock --port 8080
  curl -X POST localhost:8000/register/example
  penstock serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
  penstock serve --host 0.0.0.0 --behind-proxy 10.0.0.2
"""


@click.command("serve", epilog=EXAMPLES)
@options.flower_db_options
@options.db_option
@options.server_options
@access_options
@options.check_option
@options.plugin_options
@click.option("--echo", is_flag=True, help="Answer POST /echo with its own body: a target for the sample workflow.")
@click.option(
    "--compat/--no-compat",
    envvar="PENSTOCK_COMPAT",
    default=True,
    show_default=True,
    help="Answer the paths of Waterflow and of synergy_flow too.",
)
@click.option(
    "--ui-origin",
    "ui_origins",
    envvar="PENSTOCK_UI_ORIGINS",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this origin read Waterflow's counts; repeatable.",
)
@click.option("--db-wait", envvar="PENSTOCK_DB_WAIT", type=float, default=60.0, show_default=True, help="Seconds.")
@options.log_options
def command(
    db_url: str,
    host: str | None,
    port: int | None,
    check_programs: bool,
    plugins: str | None,
    no_plugins: bool,
    echo: bool,
    compat: bool,
    ui_origins: tuple[str, ...],
    db_wait: float,
    log_level: str,
    log_json: bool,
    access: dict[str, Any],
) -> None:
    """Serve HTTP: POST /register/TASK_ID makes a flow; GET /openapi.json describes the rest."""
    from penstock import logs, services
    from penstock.access import any_database
    from register.app import create_app

    logs.set_up(log_level, as_json=log_json)
    services.warn_of_variables()
    more = {"echo": echo, "compat": compat, "ui_origins": ui_origins, **access}
    settings = services.server_settings(host, port, **more, db_wait_s=db_wait)
    programs = services.catalogue(plugins, no_plugins)
    check = services.program_check(programs) if check_programs else None
    with any_database(db_url, "register") as db:
        services.await_database(db, db_wait)
        services.tell_first_token(db, settings)
        app = create_app(db, settings, check=check, programs=partial(services.listed, programs))
        services.serve(app, settings)
