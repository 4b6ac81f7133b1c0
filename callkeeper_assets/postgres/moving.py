"""The embedded database moved, as it is, into a PostgreSQL of the user's own, 15 or newer.

Rows go straight from one connection to the other. The target gets all of it in one transaction, or
nothing; the embedded one is read, and stays as it was.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callkeeper_assets.language import tr
from callkeeper_assets.postgres.embedded import EmbeddedPostgres
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.locks import STORAGE_LOCK
from callkeeper_assets.postgres.schemas import LET_OWNER_FIND
from callkeeper_assets.postgres.snapshots import (
    Connection,
    Relation,
    Snapshot,
    check_empty,
    explaining,
    make_relations,
    set_sequence,
    write_rows,
)
from callkeeper_assets.postgres.url import connect

_OTHERS: Final = """
    SELECT DISTINCT coalesce(nullif(application_name, ''), 'a program without a name')
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend'
        AND pid <> pg_backend_pid() ORDER BY 1
"""


@dataclass(frozen=True)
class Moved:
    """What was moved.

    Attributes:
        tables: how many, Dagster's and those of reports included.
        rows: in all of them.
    """

    tables: int
    rows: int


def _copy_rows(snapshot: Snapshot, target: Connection, table: Relation) -> int:
    columns = snapshot.list_columns(table)
    if not columns:
        return 0
    with snapshot.reading(table, columns) as rows:
        written = write_rows(target, table, columns, rows)
    if written != rows.count:
        raise DatabaseError(
            tr(
                "Of the {count} rows of {schema}.{table} the new database took {written}. Nothing "
                "was changed there; look for what keeps it from taking rows, as an event trigger "
                "does.",
                count=rows.count,
                schema=table.schema,
                table=table.name,
                written=written,
            )
        )
    return written


def _check_alone(source: Connection) -> None:
    others = [str(name) for (name,) in source.execute(_OTHERS).fetchall()]
    if others:
        raise DatabaseError(
            tr(
                "The embedded database is in use: {others}. What is written meanwhile would be "
                "missing in the new one. Stop `callkeeper dev`, let commands end, close BI tools, "
                "and run this again.",
                others=", ".join(others),
            )
        )


def move_embedded(home: Path, target_url: str) -> Moved:
    """Copy the home's embedded database into an empty database of the user's own.

    Raises:
        DatabaseError: there is none, it is in use, or the target will not do; nothing is changed.
    """
    if not (home / "postgres").exists():
        raise DatabaseError(
            tr(
                "There is no embedded database in {home}: nothing is to be moved. Set "
                "CALLKEEPER_DATABASE_URL, and the first load makes the tables there.",
                home=home,
            )
        )
    with (
        EmbeddedPostgres(home) as server,
        connect(server.start()) as source,
        connect(target_url) as target,
        explaining(target_url, tr("The database could not be moved to")),
    ):
        # A command that comes now waits for it, and is seen by the second look.
        source.execute("SELECT pg_try_advisory_lock(%s)", (STORAGE_LOCK,))
        _check_alone(source)
        source.rollback()
        snapshot = Snapshot(source, server.start())
        check_empty(target, target_url, snapshot.relations)
        make_relations(target, snapshot.dump("pre-data"))
        rows = sum(_copy_rows(snapshot, target, table) for table in snapshot.tables)
        for state in snapshot.read_sequences():
            set_sequence(target, state)
        make_relations(target, snapshot.dump("post-data"))
        target.execute(LET_OWNER_FIND)
        source.rollback()
        # Others that connected meanwhile may have written what was not copied.
        _check_alone(source)
        target.commit()
    return Moved(len(snapshot.tables), rows)
