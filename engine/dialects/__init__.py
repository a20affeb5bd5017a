"""The one room for differences between databases: `dialect_of(url)` picks the family."""

from __future__ import annotations

from sqlalchemy.engine import URL

from engine.dialects.base import Abilities, Dialect, Failure
from engine.dialects.mariadb import MariaDB
from engine.dialects.postgresql import PostgreSQL
from engine.dialects.sqlite import SQLite
from engine.errors import BadDatabaseURL

__all__ = ["Abilities", "Dialect", "Failure", "dialect_of"]

_FAMILIES: dict[str, type[Dialect]] = {
    "sqlite": SQLite,
    "mysql": MariaDB,
    "mariadb": MariaDB,
    "postgresql": PostgreSQL,
    "postgres": PostgreSQL,
}


def dialect_of(url: URL) -> Dialect:
    """The family that a URL names. Errors: BadDatabaseURL, listing the ones there are."""
    family = _FAMILIES.get(url.get_backend_name())
    if family is None:
        raise BadDatabaseURL(
            f"no database is called {url.get_backend_name()!r}: write sqlite:///file.db, "
            "mysql+pymysql://user:password@host/name or postgresql+psycopg://user:password@host/name"
        )
    return family()
