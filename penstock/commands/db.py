"""`penstock db`: create, upgrade, check and empty the tables."""

from __future__ import annotations

import click

from penstock import options

EXAMPLES = """\b
Examples:
  penstock db init                     tables and the sample workflow
  penstock db upgrade                  after installing a newer Penstock
  penstock db check                    exit 1 and say what differs
  penstock db reset --yes              drop everything, and create it empty
"""


@click.group("db", epilog=EXAMPLES)
def command() -> None:
    """Create, upgrade, check or reset the tables."""


@command.command("init")
@options.flower_db_options
@options.db_option
@options.json_option
@click.option("--samples/--no-samples", default=True, show_default=True, help="Insert the sample workflow `example`.")
@click.option("--sample-url", metavar="URL", help="Where the third step of the sample posts to.")
@click.option("--wait", type=float, default=0.0, metavar="S", help="Wait so many seconds for the database to answer.")
def init(db_url: str, as_json: bool, samples: bool, sample_url: str | None, wait: float) -> None:
    """Create the tables in an empty database. Harmless to repeat."""
    from engine import migrate
    from engine.database import wait_until_up
    from penstock import access

    with access.any_database(db_url, "migrator") as db:
        if wait:
            wait_until_up(db, wait)
        access.refuse_newer(db)
        with access.told_where(db):
            migrate.init(db, samples=samples, sample_url=sample_url)
        _say(as_json, db.url.render_as_string(), "is ready")


@command.command("upgrade")
@options.db_option
@options.json_option
def upgrade(db_url: str, as_json: bool) -> None:
    """Bring the tables to the revision of this Penstock. Several at once do no harm: one migrates, the others wait."""
    from engine import migrate
    from penstock import access

    with access.any_database(db_url, "migrator") as db:
        access.refuse_newer(db)
        with access.told_where(db):
            migrate.upgrade(db)
        _say(as_json, db.url.render_as_string(), "is up to date")


@command.command("check")
@options.db_option
@options.json_option
def check(db_url: str, as_json: bool) -> None:
    """Compare the tables with what this Penstock expects; exit 1 if they differ."""
    from engine import migrate
    from engine.schema import REVISION
    from penstock import access, output

    with access.database(db_url, "migrator") as db:
        found = migrate.differences(db)
        where = db.url.render_as_string()
    if as_json:
        output.echo_json({"revision": REVISION, "differences": found})
    else:
        for line in found or [f"{where} is at revision {REVISION}, without differences"]:
            output.say(line)
    raise SystemExit(1 if found else 0)


@command.command("reset")
@options.db_option
@options.json_option
@click.option("--yes", is_flag=True, help="Really drop everything.")
def reset(db_url: str, as_json: bool, yes: bool) -> None:
    """Drop every table of Penstock with all definitions and runs, and create them empty."""
    from engine import migrate
    from penstock import access
    from penstock.failures import Refused

    with access.any_database(db_url, "migrator") as db:
        where = db.url.render_as_string()
        if not yes:
            raise Refused(f"this drops all definitions and runs in {where}: say --yes if you mean it")
        with access.told_where(db):
            migrate.reset(db)
        _say(as_json, where, "is empty")


def _say(as_json: bool, database: str, words: str) -> None:
    from engine.schema import REVISION
    from penstock import output

    if as_json:
        output.echo_json({"database": database, "revision": REVISION})
    else:
        output.say(f"{database} {words}, at revision {REVISION}")
