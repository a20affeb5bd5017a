"""The operating surface: commands, tokens, tags, summaries, logs of running tries, pauses."""

from alembic import op

from engine.migrate import run_script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_script(op.get_bind(), "0007_operating")
