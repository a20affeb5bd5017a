"""${message}"""

from alembic import op

from engine.migrate import run_script

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    run_script(op.get_bind(), "${up_revision}_${message.replace(' ', '_')}")
