"""Servers that work, and that are set up to lose what they acknowledged."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
from factories import sql
from sqlalchemy import text

from engine.database import Database
from engine.dialects.sqlite import NETWORK_FILE_SYSTEMS, file_system_of


def warned(db: Database) -> str:
    with db.read() as conn:
        return " ".join(item.words for item in db.dialect.warnings(conn))


@pytest.mark.parametrize("kind", ["mariadb"])
def test_mariadb_without_a_flush_at_each_commit(db: Database) -> None:
    with db.read() as conn:
        ((_, was),) = conn.execute(text("SHOW GLOBAL VARIABLES LIKE 'innodb_flush_log_at_trx_commit'"))
    try:
        sql(db, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        assert "innodb_flush_log_at_trx_commit is 2" in warned(db)
        sql(db, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        assert "innodb_flush_log_at_trx_commit" not in warned(db)
    finally:
        sql(db, f"SET GLOBAL innodb_flush_log_at_trx_commit = {was}")


@pytest.mark.parametrize("kind", ["postgresql"])
def test_postgresql_without_a_flush_at_each_commit(db: Database) -> None:
    with db.read() as conn:
        assert "synchronous_commit" not in " ".join(item.words for item in db.dialect.warnings(conn))
        conn.execute(text("SET LOCAL synchronous_commit = off"))
        found = {item.words.split()[0] for item in db.dialect.warnings(conn)}
    assert {"synchronous_commit", "fsync"} <= found, "the tests' server does not sync"


@pytest.mark.parametrize("kind", ["sqlite"])
def test_sqlite_on_a_network(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(db.url.database)
    assert file_system_of(place) not in NETWORK_FILE_SYSTEMS | {""}
    assert "locks" not in warned(db)
    parts: list[Any] = psutil.disk_partitions(all=True)
    far = parts[0]._replace(mountpoint=place.rpartition("/")[0], fstype="nfs4")
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [*parts, far])
    assert "the file lies on nfs4" in warned(db)
