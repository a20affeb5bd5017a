"""alembic's entry: migrate on the connection, and in the transaction, that engine/migrate.py holds the lock with."""

from alembic import context

from engine.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
    transactional_ddl=False,
)
context.run_migrations()
