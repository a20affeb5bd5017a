"""The graph: edges with conditions, trigger rules, phases, waits, messages, limits."""

from alembic import op

from engine.migrate import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_script(op.get_bind(), "0002_graph")
