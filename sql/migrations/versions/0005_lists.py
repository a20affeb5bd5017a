"""Lists: the flows of a status, newest first."""

from alembic import op

from engine.migrate import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_script(op.get_bind(), "0005_lists")
