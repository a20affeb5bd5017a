"""Behind: what stands behind a task is looked up by its number first, and then by its flow."""

from alembic import op

from engine.migrate import run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_script(op.get_bind(), "0006_behind")
