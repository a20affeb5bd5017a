"""The tables of the main job: definitions, flows, tasks, attempts, events, watchers."""

from alembic import op

from engine.migrate import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script(op.get_bind(), "0001_main_job")
