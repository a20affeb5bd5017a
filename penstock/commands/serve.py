"""`penstock serve`: run the register service."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from penstock import options
from penstock.service_options import service_options

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
@service_options
@options.check_option
@options.plugin_options
@click.option("--echo", is_flag=True, help="Answer POST /echo, whoever asks, with its body: for the sample workflow.")
@click.option("--db-wait", envvar="PENSTOCK_DB_WAIT", type=float, default=60.0, show_default=True, help="Seconds.")
@options.log_options
def command(
    db_url: str,
    service: dict[str, Any],
    check_programs: bool,
    plugins: str | None,
    no_plugins: bool,
    echo: bool,
    db_wait: float,
) -> None:
    """Serve HTTP: POST /register/TASK_ID makes a flow; GET /openapi.json describes the rest."""
    from penstock import loading, services
    from penstock.access import any_database
    from register.app import create_app

    services.warn_of_variables()
    settings = services.server_settings(**service, echo=echo, db_wait_s=db_wait)
    loading.refuse_unlisted(settings, plugins, no_plugins)
    programs = services.catalogue(plugins, no_plugins)
    loading.tell_of_plugins(plugins, no_plugins, host=None)
    check = services.program_check(programs) if check_programs else None
    with any_database(db_url, "register") as db:
        services.await_database(db, db_wait)
        services.tell_first_token(db, settings)
        app = create_app(db, settings, check=check, programs=partial(services.listed, programs))
        services.serve(app, settings)
