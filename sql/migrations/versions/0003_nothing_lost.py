"""Nothing lost: executors, exclusive tasks, retention."""

from alembic import op

from engine.migrate import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_script(op.get_bind(), "0003_nothing_lost")
