"""`penstock serve`: run the register service."""

from __future__ import annotations

from functools import partial

import click

from penstock import options

EXAMPLES = """\b
Examples:
  penstock serve
  penstock serve --db mysql+pymysql://penstock:secret@localhost/penstock --port 8080
  curl -X POST localhost:8000/register/example
"""


@click.command("serve", epilog=EXAMPLES)
@options.flower_db_options
@options.db_option
@options.server_options
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
) -> None:
    """Serve HTTP: POST /register/TASK_ID makes a flow; GET /openapi.json describes the rest."""
    from penstock import access, logs, services
    from register.app import create_app

    logs.set_up(log_level, as_json=log_json)
    services.warn_of_variables()
    more = {"echo": echo, "compat": compat, "ui_origins": ui_origins}
    settings = services.server_settings(host, port, **more, db_wait_s=db_wait)
    programs = services.catalogue(plugins, no_plugins)
    check = services.program_check(programs) if check_programs else None
    with access.any_database(db_url, "register") as db:
        services.await_database(db, db_wait)
        app = create_app(db, settings, check=check, programs=partial(services.listed, programs))
        services.serve(app, settings)
