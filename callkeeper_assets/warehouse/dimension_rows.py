"""Rows of dimensions: found, made where they are missing, deleted when no fact refers to them."""

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, Final

import duckdb
import psycopg
import pyarrow as pa
from psycopg import sql

from callkeeper_assets.postgres.locks import DIMENSIONS_LOCK, check_locks, lock_transaction
from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.records import Deleted, DuplicateRowError, WarehouseError
from callkeeper_assets.warehouse.schema import DATES, DIMENSIONS, FACTS, UNKNOWN_ID, Dimension
from callkeeper_assets.warehouse.session import Session

# Keys remembered between batches, in each dimension: memory must not grow with the period.
_REMEMBERED: Final = 25_000
_INSERT_ATTEMPTS: Final = 3
_DELETIONS: Final = "SELECT last_value FROM callkeeper_dimension_deletions"

Connection = psycopg.Connection[Any]

_COUNT_DELETION: Final = "SELECT nextval('callkeeper_dimension_deletions')"
# Of one transaction: a look through the facts for each.
_ROWS: Final = 50_000
_EPOCH: Final = date(1970, 1, 1)
# While it is waited for, no new batch begins: rather try again.
_PATIENCE: Final = "SET LOCAL lock_timeout = '2s'"
_DELETE_ATTEMPTS: Final = 20
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
    ) {kept}
"""
_FIND: Final = """
    CREATE TEMP TABLE orphans AS
    SELECT d.id, row_number() OVER (ORDER BY d.id) AS place
    FROM {table} AS d
    WHERE d.id <> {unknown} AND NOT EXISTS (SELECT FROM {facts} AS f WHERE f.{column} = d.id)
        {kept}
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
        WHERE d.id = chunk.id AND NOT EXISTS (SELECT FROM used WHERE used.id = d.id) {kept}
        RETURNING pg_column_size(ROW(d.*)) AS bytes
    )
    SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM gone
"""
# Hours of days that are loaded stay, whether anybody called or not.
_KEPT_HOURS: Final = """
    AND NOT (d.minute = 0 AND EXISTS (
        SELECT FROM callkeeper_days AS loaded WHERE loaded.day = d.simple_date {but}
    ))
"""
_BUT_OLD: Final = """
    AND NOT (loaded.account_id = %(account_id)s AND loaded.day < %(first_kept)s)
"""
_COLUMNS: Final = {
    **{dimension.table: dimension.fact_column for dimension in DIMENSIONS},
    DATES: "dates_id",
}


class DimensionRows:
    """Ids of dimensions' rows by key, for the batches of one load.

    Keeps `known_<short>(key, id, is_new)` in the given DuckDB, where `frame` is the batch.

    Args:
        fills_hours: whether loaded days get a row of general_dates for each hour.
    """

    def __init__(
        self, session: Session, duck: duckdb.DuckDBPyConnection, *, fills_hours: bool = False
    ) -> None:
        self._session = session
        self._duck = duck
        self._fills_hours = fills_hours
        self._deletions: int | None = None
        self._is_used = False
        for dimension in DIMENSIONS:
            duck.execute(
                f"CREATE OR REPLACE TEMP TABLE known_{dimension.short} "
                "(key UUID, id INTEGER, is_new BOOLEAN)"
            )
        duck.execute("CREATE OR REPLACE TEMP TABLE known_dates (id INTEGER, is_new BOOLEAN)")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let nobody delete rows while a batch finds them and comes to refer to them.

        What is known from before is forgotten if rows were deleted since.
        """
        with self._session.keep_dimensions():
            deletions = self._session.query(_DELETIONS)["last_value"][0].as_py()
            if deletions != self._deletions:
                for short in ("dates", *(dimension.short for dimension in DIMENSIONS)):
                    self._duck.execute(f"DELETE FROM known_{short}")
                self._deletions = deletions
            yield

    def resolve(self, chosen: tuple[str, ...], days: Collection[date] = ()) -> None:
        """Make every key in `frame` known, and hours of the days; valid while `kept`."""
        wanted = [dimension for dimension in DIMENSIONS if dimension.table in chosen]
        # The first batch finds nothing known: of a small load each statement counts.
        if self._is_used:
            for short in (*(dimension.short for dimension in wanted), "dates"):
                self._forget(f"known_{short}")
        self._is_used = True
        # COPY takes a UUID as its 16 bytes, not as text. Truth values, which it takes as they are
        # only without this setting, are in no dimension.
        self._duck.execute("SET arrow_lossless_conversion = true")
        for dimension in wanted:
            self._resolve(dimension)
        self._duck.execute("RESET arrow_lossless_conversion")
        if DATES in chosen:
            self._resolve_dates(days if self._fills_hours else ())

    def _add_rows(self, table: str, rows: pa.Table) -> pa.Table:
        """Add rows that were not there a moment ago; return the ids of those that were made.

        COPY costs least, but ends at a row that another load has made meanwhile: INSERT leaves
        such rows out.
        """
        # They are committed before the batch, and may be a person's who is being forgotten.
        check_locks()
        try:
            self._session.copy(table, rows)
            return rows.select(["id"])
        except DuplicateRowError:
            columns = ", ".join(f'"{name}"' for name in rows.column_names)
            with self._session.transaction():
                self._session.execute(f"CREATE TEMP TABLE new_rows (LIKE {table}) ON COMMIT DROP")
                self._session.copy("new_rows", rows, temporary=True)
                return self._session.query(
                    f"INSERT INTO {table} ({columns}) SELECT {columns} FROM new_rows "
                    "ON CONFLICT DO NOTHING RETURNING id"
                )

    def _forget(self, known: str) -> None:
        rows = self._duck.execute(f"SELECT count(*) FROM {known}").fetchall()[0][0]
        if rows > _REMEMBERED:
            self._duck.execute(f"DELETE FROM {known}")
        else:
            self._duck.execute(f"UPDATE {known} SET is_new = false WHERE is_new")

    def _resolve(self, dimension: Dimension) -> None:
        known = f"known_{dimension.short}"
        for _ in range(_INSERT_ATTEMPTS):
            wanted = self._want(dimension)
            if not wanted.num_rows:
                return
            found = self._session.query(
                f"SELECT id, key_hash FROM {dimension.table} "
                "WHERE key_hash = ANY($1::text[]::uuid[])",
                {"key": wanted["key"]},
            )
            self._duck.register("found", found)
            self._duck.execute(f"INSERT INTO {known} SELECT key_hash, id, false FROM found")
            self._make(dimension)
        raise WarehouseError(
            f"Rows of {dimension.table} vanish as fast as they are made. Is another program "
            f"deleting from it?"
        )

    def _want(self, dimension: Dimension) -> pa.Table:
        """Gather the batch's keys that are not known in `wanted`, with their values."""
        statement = read_sql("missing_keys").format(
            key=dimension.key,
            short=dimension.short,
            values="".join(
                f', any_value({value}) AS "{column}"'
                for value, column in zip(dimension.values, dimension.columns, strict=True)
            ),
        )
        self._duck.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS {statement}")
        return self._duck.sql("SELECT key::VARCHAR AS key FROM wanted").to_arrow_table()

    def _make(self, dimension: Dimension) -> None:
        """Make the rows of `wanted` that were not found, in the order of their keys."""
        known = f"known_{dimension.short}"
        columns = ", ".join(f'"{column}"' for column in dimension.columns)
        rows = self._duck.sql(
            f"SELECT key AS key_hash, {columns} FROM wanted "
            f"WHERE key NOT IN (SELECT key FROM {known}) ORDER BY key"
        ).to_arrow_table()
        if not rows.num_rows:
            return
        ids = self._session.reserve_ids(dimension.table, rows.num_rows)
        rows = rows.add_column(0, "id", ids["id"])
        self._duck.register("rows", rows)
        self._duck.register("made", self._add_rows(dimension.table, rows))
        self._duck.execute(
            f"INSERT INTO {known} SELECT key_hash, id, true FROM rows "
            "WHERE id IN (SELECT id FROM made)"
        )

    def _resolve_dates(self, days: Collection[date]) -> None:
        midnights = [(day - _EPOCH).days * 24 * 60 for day in days]
        hours = [midnight + 60 * hour for midnight in midnights for hour in range(24)]
        self._duck.register("hours", pa.table({"id": pa.array(hours, pa.int32())}))
        missing = self._duck.sql(read_sql("missing_minutes")).to_arrow_table()
        if not missing.num_rows:
            return
        found = self._session.query(
            "SELECT id FROM general_dates WHERE id = ANY($1)", {"ids": missing["id"]}
        )
        self._duck.register("missing", missing)
        self._duck.register("found", found)
        self._duck.execute(
            "CREATE OR REPLACE TEMP TABLE minutes AS "
            "FROM missing WHERE id NOT IN (SELECT id FROM found)"
        )
        rows = self._duck.sql(f"{read_sql('dates')} ORDER BY id").to_arrow_table()
        made = self._add_rows(DATES, rows) if rows.num_rows else rows
        self._duck.register("made", made)
        self._duck.execute(
            "INSERT INTO known_dates SELECT id, id IN (SELECT id FROM made) FROM missing"
        )


def count_orphans(
    connection: Connection, account_id: int, until: object, first_kept: date
) -> dict[str, Deleted]:
    """Count dimensions' rows to which at most an account's calls before a moment refer.

    `first_kept` is the day that begins then.
    """
    named = {"account_id": account_id, "until": until, "first_kept": first_kept}
    counted = {}
    for table in _COLUMNS:
        row = connection.execute(_compose(_COUNT, table, _BUT_OLD), named).fetchone()
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
    for attempt in range(_DELETE_ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(_PATIENCE)
                lock_transaction(connection, DIMENSIONS_LOCK)
                # Before the rows go: a kill between must not leave loads with ids that are gone.
                connection.execute(_COUNT_DELETION)
                row = connection.execute(_compose(_DELETE, table), places).fetchone()
                return Deleted(*row) if row else Deleted()
        except psycopg.errors.LockNotAvailable:
            if attempt + 1 < _DELETE_ATTEMPTS:
                time.sleep(_PAUSE_SEC)
    return None


def _compose(statement: str, table: str, but: str = "") -> sql.Composed:
    return sql.SQL(statement).format(
        kept=sql.SQL(_KEPT_HOURS.format(but=but) if table == DATES else ""),
        table=sql.Identifier(table),
        facts=sql.Identifier(FACTS),
        column=sql.Identifier(_COLUMNS[table]),
        unknown=sql.Literal(UNKNOWN_ID),
    )


def vacuum_tables(connection: psycopg.Connection[Any], tables: Iterable[str]) -> None:
    """Vacuum tables, and gather their statistics anew.

    New rows get the space; what lies at a table's end goes back to the disk. A table that the role
    may not vacuum is left out, by PostgreSQL itself.

    Args:
        connection: in autocommit mode.
        tables: their names.
    """
    for table in tables:
        connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
