"""Documented views, the role worker, and what a command changed. The text of the views stands in sql/views, and
engine/migrate.py makes those that are missing once the tables are up to date: a later revision that changes a view, or
a column that one reads, drops it in its script."""

from alembic import op

from engine.migrate import run_script

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_script(op.get_bind(), "0008_views")
