"""A database as an earlier version left it: its tables at one of the earlier migrations."""

import sqlalchemy
from alembic import command

from callkeeper_assets.postgres import connect
from callkeeper_assets.warehouse import migrate


def migrate_to(url: str, revision: str) -> None:
    """Bring an empty database's tables to a migration."""
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: connect(url), poolclass=sqlalchemy.NullPool
    )
    config = migrate._configure()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
