"""Brings a database's schema to this program's, by itself.

Alembic runs the migrations under an advisory lock, so that several processes may start at once.
Where nothing is to do, which is nearly always, Alembic is not even imported.
"""

from importlib.resources import files
from typing import Final

import psycopg
from psycopg import sql

from callkeeper_assets.database import connect, describe
from callkeeper_assets.database.locks import MIGRATION_LOCK, Lock
from callkeeper_assets.warehouse.changes import PATIENCE, change_patiently
from callkeeper_assets.warehouse.errors import SchemaError
from callkeeper_assets.warehouse.tables import TABLES

VERSION_TABLE: Final = "callkeeper_alembic_version"
# The newest migration's revision; a test compares it with the folder.
HEAD: Final = "0008"

_ELSEWHERE: Final = """
    SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relname = %s AND c.relkind = 'r' AND n.nspname <> 'public'
    ORDER BY 1
"""

_Connection = psycopg.Connection[tuple[object, ...]]


def ensure_schema(url: str) -> None:
    """Create or upgrade the warehouse's tables; one query if there is nothing to do.

    Raises:
        DatabaseError: the database cannot be reached, or is too old.
        SchemaError: the database's schema is newer than this program, or cannot be changed.
        UnavailableError: others have its tables open for minutes.
    """
    with connect(url, autocommit=True) as connection:
        if _revision(connection) == HEAD:
            return
    with Lock(url, "the tables' migration") as lock:
        lock.wait(MIGRATION_LOCK)
        revision = _revision(lock.connection)
        if revision != HEAD:
            _check_known(url, revision)
            if revision is None:
                check_not_elsewhere(lock.connection, url)
            change_patiently(url, TABLES, lambda: _upgrade(url))
            _describe_tables(lock.connection)


def _revision(connection: _Connection) -> str | None:
    try:
        row = connection.execute(
            sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(VERSION_TABLE))
        ).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return None if row is None else str(row[0])


def check_not_elsewhere(connection: _Connection, url: str) -> None:
    """See that no other schema has the tables: a second installation would begin beside them.

    Raises:
        SchemaError: one has.
    """
    row = connection.execute(_ELSEWHERE, (VERSION_TABLE,)).fetchone()
    if row is not None:
        raise SchemaError(
            f"The tables in {describe(url)} are in the schema {row[0]}, and belong into public. "
            f"Move each of them: ALTER TABLE {row[0]}.{VERSION_TABLE} SET SCHEMA public; likewise "
            f"callkeeper_… and general_…, sequences with them. If they are another "
            f"installation's, name another database in CALLKEEPER_DATABASE_URL."
        )


def _check_known(url: str, revision: str | None) -> None:
    known = {
        file.name.partition("_")[0]
        for file in (files("callkeeper_assets.warehouse.migrations") / "versions").iterdir()
    }
    if revision is not None and revision not in known:
        raise SchemaError(
            f"The tables in {describe(url)} are of a newer version of this program: schema "
            f"{revision}, this program knows up to {HEAD}. Update the program; nothing was changed."
        )


def _upgrade(url: str) -> None:
    """Run the missing migrations in one transaction."""
    import sqlalchemy  # noqa: PLC0415 -- with Alembic half a second, which most starts need not pay
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url),
        poolclass=sqlalchemy.NullPool,
    )
    config = Config()
    config.set_main_option("script_location", str(files("callkeeper_assets.warehouse.migrations")))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(PATIENCE)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except sqlalchemy.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.LockNotAvailable):
            raise error.orig from None
        text = str(error.orig).partition("\n")[0]
        raise SchemaError(
            f"The tables could not be brought to schema {HEAD} in {describe(url)}: {text}. Nothing "
            f"was changed. The user needs the right to create tables: "
            f"GRANT CREATE ON SCHEMA public TO its name."
        ) from None


def _describe_tables(connection: _Connection) -> None:
    """Put the declared descriptions into the database, where BI tools show them."""
    for table in TABLES.values():
        name = sql.Identifier(table.name)
        connection.execute(
            sql.SQL("COMMENT ON TABLE {} IS {}").format(name, sql.Literal(table.description))
        )
        for column in table.columns:
            text = (
                column.description if not column.unit else f"{column.description} [{column.unit}]"
            )
            connection.execute(
                sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                    name, sql.Identifier(column.name), sql.Literal(text)
                )
            )
