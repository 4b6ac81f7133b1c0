"""Deletes rows of dimensions that no fact refers to any more.

Loads find a row's id first and write the fact after it, and remember ids between batches. While a
batch is between the two it holds `DIMENSIONS_LOCK` shared; here it is held alone, for as long as
one look through the facts takes, and the sequence is counted on before anything goes: a load that
sees a new count looks all of its ids up again.
"""

import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import sql

from callkeeper_assets.database.locks import DIMENSIONS_LOCK, lock_transaction
from callkeeper_assets.warehouse.dimensions import DATES, DIMENSIONS, FACTS, UNKNOWN_ID
from callkeeper_assets.warehouse.records import Deleted

Connection = psycopg.Connection[Any]

_COUNT_DELETION: Final = "SELECT nextval('callkeeper_dimension_deletions')"
# Of one transaction: a look through the facts for each.
_ROWS: Final = 50_000
# While it is waited for, no new batch begins: rather try again.
_PATIENCE: Final = "SET LOCAL lock_timeout = '2s'"
_ATTEMPTS: Final = 20
_PAUSE_SEC: Final = 3.0
_COUNT: Final = """
    SELECT count(*), coalesce(sum(pg_column_size(ROW(d.*))), 0)::bigint
    FROM {table} AS d
    WHERE d.id <> {unknown} AND NOT EXISTS (
        SELECT FROM {facts} AS f
        WHERE f.{column} = d.id AND NOT (
            f.account_id = %(account_id)s AND f.calls_id IN (
                SELECT id FROM callkeeper_calls
                WHERE account_id = %(account_id)s AND called_at < %(until)s
            )
        )
    )
"""
_FIND: Final = """
    CREATE TEMP TABLE orphans AS
    SELECT d.id, row_number() OVER (ORDER BY d.id) AS place
    FROM {table} AS d
    WHERE d.id <> {unknown} AND NOT EXISTS (SELECT FROM {facts} AS f WHERE f.{column} = d.id)
"""
# By joins: an array of so many ids is searched from its beginning for each fact, once PostgreSQL
# has chosen a plan for any array.
_DELETE: Final = """
    WITH chunk AS MATERIALIZED (
        SELECT id FROM orphans WHERE place > %(begin)s AND place <= %(end)s
    ),
    used AS MATERIALIZED (
        SELECT DISTINCT f.{column} AS id FROM {facts} AS f JOIN chunk ON chunk.id = f.{column}
    ),
    gone AS (
        DELETE FROM {table} AS d
        USING chunk
        WHERE d.id = chunk.id AND NOT EXISTS (SELECT FROM used WHERE used.id = d.id)
        RETURNING pg_column_size(ROW(d.*)) AS bytes
    )
    SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM gone
"""
_COLUMNS: Final = {
    **{dimension.table: dimension.fact_column for dimension in DIMENSIONS},
    DATES: "dates_id",
}


def count_orphans(connection: Connection, account_id: int, until: object) -> dict[str, Deleted]:
    """Count dimensions' rows to which at most an account's calls before a moment refer."""
    counted = {}
    for table in _COLUMNS:
        row = connection.execute(
            _compose(_COUNT, table), {"account_id": account_id, "until": until}
        ).fetchone()
        if row and row[0]:
            counted[table] = Deleted(*row)
    return counted


def delete_orphans(connection: Connection) -> Iterator[tuple[str, Deleted | None]]:
    """Delete rows that no fact refers to; yields what went of each dimension.

    None in place of what went: loads left no gap to do it in; the next retention does.

    Args:
        connection: in autocommit mode.
    """
    for table in _COLUMNS:
        with connection.transaction():
            connection.execute("DROP TABLE IF EXISTS orphans")
            found = connection.execute(_compose(_FIND, table)).rowcount
        connection.execute("ANALYZE orphans")
        for begin in range(0, found, _ROWS):
            yield table, _delete(connection, table, begin)


def _delete(connection: Connection, table: str, begin: int) -> Deleted | None:
    places = {"begin": begin, "end": begin + _ROWS}
    for attempt in range(_ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(_PATIENCE)
                lock_transaction(connection, DIMENSIONS_LOCK)
                # Before the rows go: a kill between must not leave loads with ids that are gone.
                connection.execute(_COUNT_DELETION)
                row = connection.execute(_compose(_DELETE, table), places).fetchone()
                return Deleted(*row) if row else Deleted()
        except psycopg.errors.LockNotAvailable:
            if attempt + 1 < _ATTEMPTS:
                time.sleep(_PAUSE_SEC)
    return None


def _compose(statement: str, table: str) -> sql.Composed:
    return sql.SQL(statement).format(
        table=sql.Identifier(table),
        facts=sql.Identifier(FACTS),
        column=sql.Identifier(_COLUMNS[table]),
        unknown=sql.Literal(UNKNOWN_ID),
    )
