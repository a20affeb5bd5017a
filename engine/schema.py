"""The schema as files that a person can read, and as this code expects it: write, create, verify.

`sql/schema/*.sql` are written from `engine/tables` and `sql/views` (`python -m engine.schema`) and a test keeps them
equal. Servers compare one revision with the database's; alembic itself is imported only by `engine/migrate.py`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import Dialect, create_mock_engine, inspect
from sqlalchemy.schema import CreateTable, ExecutableDDLElement

from engine.database import Database
from engine.errors import SchemaMissing, SchemaTooNew, SchemaTooOld
from engine.tables import metadata
from engine.views import SQL_ROOT as SQL_ROOT
from engine.views import VIEWS, view_sql

REVISION: Final = "0008"
"""The revision that this code is written for: the newest script in sql/migrations."""

FLAVOURS: Final = {
    "sqlite": "sqlite://",
    "mariadb": "mariadb+pymysql://",
    "mysql": "mysql+pymysql://",
    "postgresql": "postgresql+psycopg://",
}


def schema_sql(flavour: str) -> str:
    """The whole schema of one flavour as SQL text: tables and views, each under a line that says what its rows are."""
    statements: list[str] = []
    mock: Any = create_mock_engine(
        FLAVOURS[flavour], lambda ddl, *_, **__: statements.append(_readable(ddl, mock.dialect))
    )
    for table in metadata.sorted_tables:
        place = len(statements)
        table.create(mock, checkfirst=False)
        statements[place + 1 :] = sorted(statements[place + 1 :])  # indexes come in no order of their own
    statements += [view_sql(name, flavour) for name in VIEWS]
    source = "Made of engine/tables and sql/views by `make schema`."
    head = f"-- Penstock's tables and views on {flavour}, revision {REVISION}. {source}"
    return "\n\n".join([head, *statements]) + "\n"


def _readable(ddl: ExecutableDDLElement, dialect: Dialect) -> str:
    text = str(ddl.compile(dialect=dialect)).strip().replace("\t", "    ").replace("\n)ENGINE", "\n) ENGINE")
    text = re.sub(r"\n\)\s+WITH \((.*)\)$", lambda found: f"\n) WITH (\n    {_lines(found[1])}\n)", text)
    text = "\n".join(line.rstrip() for line in text.splitlines())
    about = f"-- {ddl.element.info['about']}\n" if isinstance(ddl, CreateTable) else ""
    return f"{about}{text};"


def _lines(settings: str) -> str:
    return settings.replace(", ", ",\n    ")


def statements_of(script: str) -> list[str]:
    """The statements of a script as it is read by a person: comments left out, split at line ends with a semicolon."""
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    parts = "\n".join(lines).split(";\n")
    return [part.strip().rstrip(";") for part in parts if part.strip()]


def revision_of(db: Database) -> str | None:
    """The revision that the database is at; None if it holds no Penstock tables."""
    with db.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def verify(db: Database) -> None:
    """Refuse a database that is not at this code's revision. Errors: SchemaMissing, SchemaTooOld, SchemaTooNew."""
    found = None if db.dialect.is_absent(db.url) else revision_of(db)
    where = db.url.render_as_string()
    if found is None:
        raise SchemaMissing(f"{where} holds no Penstock tables: run `penstock db init`")
    if found < REVISION:
        raise SchemaTooOld(f"{where} is at revision {found}, this code needs {REVISION}: run `penstock db upgrade`")
    if found > REVISION:
        raise SchemaTooNew(
            f"{where} is at revision {found}, newer than the {REVISION} of this code: install the newer Penstock"
        )


def write_files() -> None:
    """Write sql/schema anew from the tables and the views."""
    for flavour in FLAVOURS:
        (SQL_ROOT / "schema" / f"{flavour}.sql").write_text(schema_sql(flavour))


if __name__ == "__main__":
    write_files()
