"""Storage: room for new versions of rows, and when dead ones are cleared away."""

from alembic import op

from engine.migrate import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_script(op.get_bind(), "0004_storage")
