"""Brings a database's schema to this program's, by itself, and waits for nobody's lock for long.

Alembic's migrations lie in `migrations/`. Each change of a table that people read waits for its
lock a second at a time; who has the table open is named in the end.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from callkeeper_assets.postgres import connect, describe
from callkeeper_assets.postgres.locks import MIGRATION_LOCK, Lock
from callkeeper_assets.postgres.schemas import INTERNAL, PUBLIC
from callkeeper_assets.warehouse.foreign_keys import declare_keys, find_missing_keys
from callkeeper_assets.warehouse.records import SchemaError, UnavailableError
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets.warehouse.views import MARK, VIEWS, build_statistics, build_view

if TYPE_CHECKING:
    from alembic.config import Config

# In the transaction of a change, after locks that are no tables': so long it waits for one.
PATIENCE: Final = "SET LOCAL lock_timeout = '1s'"
_PAUSE_SEC: Final = 4.0
_ATTEMPTS: Final = 24
# Who waits for several tables can be who others wait for.
_IN_THE_WAY: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

_HOLDERS: Final = """
    SELECT DISTINCT a.pid, a.usename::text, a.application_name, a.xact_start
    FROM pg_locks AS l
    JOIN pg_class AS c ON c.oid = l.relation
    JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = a.datname)
        AND a.datname = current_database() AND c.relname = ANY(%s) AND a.pid <> pg_backend_pid()
    ORDER BY a.xact_start
    LIMIT 3
"""

VERSION_TABLE: Final = "callkeeper_alembic_version"
# The newest migration's revision; a test compares it with the folder.
HEAD: Final = "0015"

_ELSEWHERE: Final = """
    SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relname = %s AND c.relkind = 'r' AND NOT pg_table_is_visible(c.oid)
    ORDER BY 1
"""

# Whether somebody else's relation has a view's name.
_IS_TAKEN: Final = """
    SELECT NOT starts_with(coalesce(obj_description(oid, 'pg_class'), ''), %s) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relname = %s
"""

# Whether any source may have calls without facts.
_LACKS_FACTS: Final = "SELECT coalesce(bool_or(lacks_facts), false) FROM general_accounts"
_NOTE_LACK: Final = "UPDATE general_accounts SET lacks_facts = true WHERE account_id = %s"

_Connection = psycopg.Connection[tuple[object, ...]]


def change_patiently(url: str, tables: Collection[str], change: Callable[[], None]) -> None:
    """Change tables, in one transaction that sets `PATIENCE`, as often as it takes.

    Args:
        url: of the database.
        tables: that are changed, for the error.
        change: does it, or undoes all and raises one of `_IN_THE_WAY`.

    Raises:
        UnavailableError: others have them open for minutes.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SEC)
        try:
            change()
        except _IN_THE_WAY:
            continue
        return
    name = ", ".join(sorted(tables)) if len(tables) == 1 else "the tables"
    raise UnavailableError(
        f"PostgreSQL did not change {name}: others have what is to be changed open, at "
        f"{_ATTEMPTS} tries in {_ATTEMPTS * _PAUSE_SEC:.0f} s{_name_holders(url, tables)}. "
        "Nothing is changed. End their transactions, in the program or by "
        "SELECT pg_terminate_backend(process), and try again."
    )


def _name_holders(url: str, tables: Collection[str]) -> str:
    with connect(url, autocommit=True) as connection:
        holders = connection.execute(_HOLDERS, (list(tables),)).fetchall()
    texts = [
        f"process {pid} of {user}{f' ({program})' if program else ''} since {since:%H:%M:%S %Z}"
        for pid, user, program, since in holders
    ]
    return f" ({'; '.join(texts)})" if texts else ""


def ensure_schema(url: str) -> None:
    """Create or upgrade the warehouse's tables; two queries if there is nothing to do.

    Also what a server that was upgraded, or restored into, can have and has not.

    Raises:
        DatabaseError: the database cannot be reached, or is too old.
        SchemaError: the database's schema is newer than this program, or cannot be changed.
        UnavailableError: others have its tables open for minutes.
    """
    with connect(url, autocommit=True) as connection:
        if read_revision(connection) == HEAD and not find_missing_keys(connection):
            return
    with Lock(url, "the tables' migration") as lock:
        lock.wait(MIGRATION_LOCK)
        revision = read_revision(lock.connection)
        if revision != HEAD:
            check_known(url, revision)
            if revision is None:
                check_not_elsewhere(lock.connection, url)
            change_patiently(url, TABLES, lambda: _upgrade(url))
            _describe_tables(lock.connection)
        # Not the lock's connection: a transaction that fails would seem to be a lock that is lost.
        with connect(url, autocommit=True) as connection:
            declare_keys(connection)


def allow_lack_of_facts(url: str, account_id: int) -> None:
    """Have calls of a source in the wide views that have no facts; before the first is written.

    Until then the views read the facts alone where these can answer; whichever source was first,
    they read the calls from then on.

    Raises:
        UnavailableError: others have the views open for minutes.
        SchemaError: somebody has changed them.
    """
    # Not the lock's connection: a transaction that fails would seem to be a lock that is lost.
    with Lock(url, "the views' change") as lock, connect(url, autocommit=True) as connection:
        lock.wait(MIGRATION_LOCK)
        try:
            change_patiently(url, VIEWS, lambda: _begin_with_calls(connection, account_id))
        except psycopg.ProgrammingError as error:
            said = str(error).partition("\n")[0]
            raise SchemaError(
                f"The views {' and '.join(VIEWS)} in {describe(url)} could not be changed so that "
                f"they have calls without facts: {said}. Nothing was loaded. Somebody has changed "
                f"them: DROP VIEW them, and run the load again."
            ) from None


def _begin_with_calls(connection: _Connection, account_id: int) -> None:
    with connection.transaction():
        connection.execute(PATIENCE)
        is_first = connection.execute(_LACKS_FACTS).fetchone() == (False,)
        connection.execute(_NOTE_LACK, (account_id,))
        for view in VIEWS if is_first else ():
            if connection.execute(_IS_TAKEN, (MARK, view)).fetchone() != (True,):
                for statement in build_view(view, begins_with_calls=True):
                    connection.execute(statement.encode())


@dataclass(frozen=True)
class Migration:
    """One that a database has not been through."""

    revision: str
    text: str


def find_pending(connection: _Connection, url: str) -> list[Migration] | None:
    """Return the migrations that `ensure_schema` would run, the oldest first; None: no table yet.

    Reads, and changes nothing.

    Raises:
        SchemaError: the database's schema is newer than this program, or its tables are elsewhere.
    """
    revision = read_revision(connection)
    if revision is None:
        check_not_elsewhere(connection, url)
        return None
    if revision == HEAD:
        return []
    check_known(url, revision)
    from alembic.script import ScriptDirectory  # noqa: PLC0415 -- half a second

    newest_first = ScriptDirectory.from_config(_configure()).walk_revisions(revision, "head")
    missing = [Migration(one.revision, " ".join(one.doc.split())) for one in newest_first]
    return [one for one in reversed(missing) if one.revision != revision]


def _configure() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 -- with SQLAlchemy half a second

    config = Config()
    config.set_main_option("script_location", str(files("callkeeper_assets.warehouse.migrations")))
    return config


def read_revision(connection: _Connection) -> str | None:
    """Return the newest migration that a database has been through; None: no table yet."""
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
        SchemaError: one has, or the user does not see ours.
    """
    row = connection.execute(_ELSEWHERE, (VERSION_TABLE,)).fetchone()
    if row == (INTERNAL,):
        raise SchemaError(
            f"The user may not look into the schema {INTERNAL} in {describe(url)}. The owner of "
            f"the tables lets a role in by `callkeeper grant`, with what its purpose needs."
        )
    if row is not None:
        raise SchemaError(
            f"The tables in {describe(url)} are in the schema {row[0]}, and belong into public. "
            f"Move each of them: ALTER TABLE {row[0]}.{VERSION_TABLE} SET SCHEMA public; likewise "
            f"callkeeper_… and general_…, sequences with them. If they are another "
            f"installation's, name another database in CALLKEEPER_DATABASE_URL."
        )


def check_known(url: str, revision: str | None) -> None:
    """See that this program knows a migration.

    Args:
        url: Of the database that has been through it.
        revision: None is always known.

    Raises:
        SchemaError: A newer version of it was there.
    """
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

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url),
        poolclass=sqlalchemy.NullPool,
    )
    config = _configure()
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(PATIENCE)
            # Up to 0013 tables are made without a schema's name, and 0014 parts them.
            connection.exec_driver_sql(f"SET LOCAL search_path = {PUBLIC}, {INTERNAL}")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            lacks_facts = bool(connection.exec_driver_sql(_LACKS_FACTS).scalar())
            for view in VIEWS:
                if not connection.exec_driver_sql(_IS_TAKEN, (MARK, view)).scalar():
                    for statement in build_view(view, begins_with_calls=lacks_facts):
                        connection.exec_driver_sql(statement)
            for statement in build_statistics():
                connection.exec_driver_sql(statement)
    except sqlalchemy.exc.DBAPIError as error:
        if isinstance(error.orig, _IN_THE_WAY):
            raise error.orig from None
        text = str(error.orig).partition("\n")[0]
        raise SchemaError(
            f"The tables could not be brought to schema {HEAD} in {describe(url)}: {text}. Nothing "
            f"was changed. The user needs the right to create tables, and a schema to be its own: "
            f"GRANT CREATE ON SCHEMA public TO its name; CREATE SCHEMA {INTERNAL} AUTHORIZATION "
            f"its name."
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
