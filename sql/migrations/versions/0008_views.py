"""Documented views. Their text stands in sql/views, and engine/migrate.py makes those that are missing once the tables
are up to date: a later revision that changes a view, or a column that one reads, drops it in its script."""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """No table changes."""
