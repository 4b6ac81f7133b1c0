"""Alembic's entry: runs the migrations on the connection that `migrate` hands over.

No `alembic.ini`, no offline mode: the program applies its migrations by itself.
"""

from alembic import context

from callkeeper_assets.warehouse.migrate import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
