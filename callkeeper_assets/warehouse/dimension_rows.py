"""Rows of dimensions: found, made where they are missing, deleted when no fact refers to them."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any, Final

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
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

    Keeps `known_<short>(key, id)` and `known_dates(id)` in the given DuckDB, where `frame` is the
    batch.

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
        # How many rows of each table are known.
        self._known = dict.fromkeys(("dates", *(dimension.short for dimension in DIMENSIONS)), 0)
        for dimension in DIMENSIONS:
            duck.execute(
                f"CREATE OR REPLACE TEMP TABLE known_{dimension.short} (key UUID, id INTEGER)"
            )
        duck.execute("CREATE OR REPLACE TEMP TABLE known_dates (id INTEGER)")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let nobody delete rows while a batch finds them and comes to refer to them.

        What is known from before is forgotten if rows were deleted since.
        """
        with self._session.keep_dimensions():
            deletions = self._session.query(_DELETIONS)["last_value"][0].as_py()
            if deletions != self._deletions:
                self._forget(0)
                self._deletions = deletions
            yield

    def resolve(
        self, chosen: tuple[str, ...], days: Collection[date] = ()
    ) -> dict[str, list[tuple[Any, int]]]:
        """Make every key in `frame` known, and hours of the days; valid while `kept`.

        Returns:
            How many rows were made, by table, for each day of `frame` that has them first.
        """
        self._forget(_REMEMBERED)
        made = {}
        # COPY takes a UUID as its 16 bytes, not as text. Truth values, which it takes as they are
        # only without this setting, are in no dimension.
        self._duck.execute("SET arrow_lossless_conversion = true")
        for dimension in DIMENSIONS:
            if dimension.table in chosen:
                made[dimension.table] = self._resolve(dimension)
        self._duck.execute("RESET arrow_lossless_conversion")
        if DATES in chosen:
            made[DATES] = self._resolve_dates(days if self._fills_hours else ())
        return self._count_by_day(made)

    def _count_by_day(self, made: Mapping[str, pa.Table]) -> dict[str, list[tuple[Any, int]]]:
        """Count rows that were made; they have a column `day`, empty where it is no call's."""
        counts: dict[str, list[tuple[Any, int]]] = {}
        named = [
            rows.append_column("name", pa.array([name] * rows.num_rows))
            for name, rows in made.items()
            if rows.num_rows
        ]
        if named:
            self._duck.register("made", pa.concat_tables(named))
            for name, day, count in self._duck.execute(
                "SELECT name, day, count(*) FROM made WHERE day IS NOT NULL GROUP BY ALL"
            ).fetchall():
                counts.setdefault(name, []).append((day, count))
            self._duck.unregister("made")
        return counts

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

    def _forget(self, most: int) -> None:
        """Forget what is known of dimensions of which more rows than that are."""
        for short, rows in self._known.items():
            if rows > most:
                self._duck.execute(f"DELETE FROM known_{short}")
                self._known[short] = 0

    def _remember(self, short: str, rows: pa.Table) -> None:
        self._duck.register("rows", rows)
        self._duck.execute(f"INSERT INTO known_{short} SELECT * FROM rows")
        self._duck.unregister("rows")
        self._known[short] += rows.num_rows

    def _resolve(self, dimension: Dimension) -> pa.Table:
        """Make the dimension's keys known; return the day of each row that was made."""
        values = zip(dimension.values, dimension.columns, strict=True)
        statement = read_sql("missing_keys").format(
            key=dimension.key,
            short=dimension.short,
            values="".join(f', any_value({value}) AS "{column}"' for value, column in values),
        )
        wanted = self._duck.sql(statement).to_arrow_table()
        known, made = [], [wanted.slice(0, 0)]
        for _ in range(_INSERT_ATTEMPTS):
            if not wanted.num_rows:
                break
            found = self._session.query(
                f"SELECT key_hash AS key, id FROM {dimension.table} "
                "WHERE key_hash = ANY($1::text[]::uuid[])",
                {"key": wanted["text"]},
            )
            known.append(found)
            wanted = _leave_out(wanted, "key", found["key"])
            if wanted.num_rows:
                made.append(self._make(dimension, wanted))
                known.append(made[-1].select(["key", "id"]))
                wanted = _leave_out(wanted, "key", made[-1]["key"])
        else:
            raise WarehouseError(
                f"Rows of {dimension.table} vanish as fast as they are made. Is another program "
                f"deleting from it?"
            )
        for rows in known:
            self._remember(dimension.short, rows)
        return pa.concat_tables([rows.select(["day"]) for rows in made])

    def _make(self, dimension: Dimension, wanted: pa.Table) -> pa.Table:
        """Make rows that were not found, in the order of their keys; return those made, with id."""
        ids = self._session.reserve_ids(dimension.table, wanted.num_rows)
        wanted = wanted.add_column(0, "id", ids["id"])
        rows = wanted.select(["id", "key", *dimension.columns])
        rows = rows.rename_columns(["id", "key_hash", *dimension.columns])
        made = self._add_rows(dimension.table, rows)
        if made.num_rows == wanted.num_rows:
            return wanted
        return wanted.filter(pc.is_in(wanted["id"], made["id"].combine_chunks()))

    def _resolve_dates(self, days: Collection[date]) -> pa.Table:
        """Make the batch's minutes known; return the day of each row that was made."""
        midnights = [(day - _EPOCH).days * 24 * 60 for day in days]
        hours = [midnight + 60 * hour for midnight in midnights for hour in range(24)]
        self._duck.register("hours", pa.table({"id": pa.array(hours, pa.int32())}))
        missing = self._duck.sql(read_sql("missing_minutes")).to_arrow_table()
        if not missing.num_rows:
            return missing.select(["day"])
        found = self._session.query(
            "SELECT id FROM general_dates WHERE id = ANY($1)", {"ids": missing["id"]}
        )
        minutes = _leave_out(missing, "id", found["id"])
        if minutes.num_rows:
            self._duck.register("minutes", minutes)
            rows = self._duck.sql(f"{read_sql('dates')} ORDER BY id").to_arrow_table()
            made = self._add_rows(DATES, rows)
            minutes = minutes.filter(pc.is_in(minutes["id"], made["id"].combine_chunks()))
        self._remember("dates", missing.select(["id"]))
        return minutes.select(["day"])


def _leave_out(rows: pa.Table, column: str, values: pa.ChunkedArray) -> pa.Table:
    """Return the rows without those that have one of the values there."""
    if not len(values):
        return rows
    return rows.filter(pc.invert(pc.is_in(_bare(rows[column]), _bare(values))))


def _bare(values: pa.ChunkedArray) -> pa.Array:
    """Return the values as they are stored: Arrow compares no UUIDs."""
    array = values.combine_chunks()
    return array.storage if isinstance(array, pa.ExtensionArray) else array


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
