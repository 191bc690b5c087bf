"""Alembic's entry: runs the migrations on the engine that `alembic_config` was given."""

from alembic import context
from sqlalchemy import text

from app.storage import task_tables  # noqa: F401 (its tables join the metadata)
from app.storage.tables import Base

with context.config.attributes["engine"].connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
        transactional_ddl=True,  # SQLite's too: alembic would commit after each migration
    )
    with context.begin_transaction():
        # Two machines may upgrade at once. In SQLite, the transaction has begun with its lock.
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('amux schema'))"))
        context.run_migrations()
    connection.commit()
