"""Dagster's own tables brought to the installed Dagster's: what `dagster instance migrate` does.

Private of Dagster: where its migrations lie, and the names of what it changes in rows beside them;
`DagsterInstance.upgrade` itself is public by its command only. Its statements commit one by one:
killed in between, the next one goes on, as each looks first whether its change is there. An index
that was being built is there as well, although it is of no use, so that is seen to here.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import dagster as dg
import psycopg
import sqlalchemy.exc
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from dagster._core.storage.event_log.migration import ASSET_DATA_MIGRATIONS
from dagster._core.storage.runs.migration import REQUIRED_DATA_MIGRATIONS
from dagster._core.storage.schedules.migration import REQUIRED_SCHEDULE_DATA_MIGRATIONS
from dagster._core.storage.sql import get_alembic_config
from psycopg import sql

from callkeeper_assets.dagster_ext.storage import SCHEMA, short_waits
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.locks import STORAGE_LOCK, Lock, list_alive
from callkeeper_assets.postgres.url import connect, describe

if TYPE_CHECKING:
    from callkeeper_assets.postgres.connection import Connection

_ROWS: Final = (
    *REQUIRED_DATA_MIGRATIONS,
    *ASSET_DATA_MIGRATIONS,
    *REQUIRED_SCHEDULE_DATA_MIGRATIONS,
)
_TABLES: Final = "SELECT to_regclass(%s), to_regclass(%s), to_regclass(%s)"
# Dagster's schema by its name, as in `storage.SCHEMA`.
_REVISION: Final = "SELECT version_num FROM dagster.alembic_version"
_DONE: Final = "SELECT name FROM dagster.secondary_indexes WHERE migration_completed IS NOT NULL"
_HOLDERS: Final = """
    SELECT DISTINCT a.pid, a.usename::text, a.application_name
    FROM pg_locks AS l
    JOIN pg_class AS c ON c.oid = l.relation
    JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.granted AND a.datname = current_database() AND c.relkind = 'r'
        AND c.relnamespace = %s::regnamespace AND a.pid <> pg_backend_pid()
    ORDER BY 1
    LIMIT 3
"""
_BROKEN: Final = """
    SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE NOT i.indisvalid AND c.relnamespace = %s::regnamespace ORDER BY 1
"""
_UNDER_WAY: Final = """
    SELECT run_id, pipeline_name FROM dagster.runs WHERE status = ANY(%s) ORDER BY create_timestamp
"""
_ALIVE: Final = [
    status.value
    for status in (
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    )
]


@dataclass(frozen=True)
class StorageMigration:
    """A change of Dagster's tables, or of their rows, that a database has not been through."""

    revision: str
    text: str


def find_pending(connection: "Connection") -> list[StorageMigration] | None:
    """Return what `upgrade_storage` would do, the oldest first; None: Dagster has no table yet.

    Reads, and changes nothing.

    Raises:
        DatabaseError: The tables are of a newer Dagster than the one installed.
    """
    names = tuple(f"{SCHEMA}.{table}" for table in ("runs", "alembic_version", "secondary_indexes"))
    found = connection.execute(_TABLES, names).fetchone()
    has_runs, has_version, has_marks = found or (None, None, None)
    if not has_runs:
        return None
    row = connection.execute(_REVISION).fetchone() if has_version else None
    done = {str(name) for (name,) in connection.execute(_DONE).fetchall()} if has_marks else set()
    rows = [StorageMigration(name, "rows written anew") for name in _ROWS if name not in done]
    return [*_list_scripts(str(row[0]) if row else "base", connection.place), *rows]


def _list_scripts(revision: str, place: str) -> list[StorageMigration]:
    scripts = ScriptDirectory.from_config(get_alembic_config(dg.__file__))
    if revision == scripts.as_revision_number("head"):
        return []
    try:
        missing = list(scripts.iterate_revisions("heads", revision))
    except (CommandError, RevisionError):
        raise DatabaseError(
            f"Dagster's tables in {place} are of a newer Dagster: schema {revision}, which Dagster "
            f"{version('dagster')} does not know. Update Dagster; nothing was changed."
        ) from None
    return [
        StorageMigration(one.revision, " ".join(one.doc.split()).rstrip("."))
        for one in reversed(missing)
    ]


def list_live_runs(connection: "Connection") -> list[tuple[str, str]]:
    """Return id and job of each run whose process lives, the oldest first.

    Dagster must have its tables.
    """
    rows = connection.execute(_UNDER_WAY, (_ALIVE,)).fetchall()
    jobs = {str(run_id): str(job) for run_id, job in rows}
    return [(run_id, jobs[run_id]) for run_id in list_alive(connection, jobs)]


def upgrade_storage(url: str) -> None:
    """Do what is pending; nothing, if another process has done it meanwhile.

    Args:
        url: Of the database, which `dagster.yaml`'s storage uses, too.

    Raises:
        DatabaseError: Others have its tables open, or a statement failed; the next call goes on.
    """
    # Opened first: that takes the lock, too.
    with short_waits(), dg.DagsterInstance.get() as instance, Lock(url, "Dagster's tables") as lock:
        lock.wait(STORAGE_LOCK)
        if not find_pending(lock.connection):
            return
        _drop_broken_indexes(lock.connection)
        try:
            instance.upgrade()
        except sqlalchemy.exc.DBAPIError as error:
            text = str(error.orig).partition("\n")[0]
            raise DatabaseError(
                f"Dagster's tables could not all be changed in {describe(url)}: {text}"
                f"{_name_holders(url)}. Type the command again, it goes on where this one ended."
            ) from None


def _drop_broken_indexes(connection: "Connection") -> None:
    for (name,) in connection.execute(_BROKEN, (SCHEMA,)).fetchall():
        # If the server still builds it, this waits for the end of that.
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(SCHEMA, str(name))))


def _name_holders(url: str) -> str:
    with connect(url, autocommit=True) as connection:
        try:
            holders = connection.execute(_HOLDERS, (SCHEMA,)).fetchall()
        except psycopg.Error:
            return ""
    texts = [
        f"process {pid} of {user}{f' ({name})' if name else ''}" for pid, user, name in holders
    ]
    return f" (open in {'; '.join(texts)})" if texts else ""
