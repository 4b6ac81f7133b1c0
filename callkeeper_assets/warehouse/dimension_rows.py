"""Finds the ids of dimensions' rows, and makes the rows that are missing.

In short transactions of their own, before the facts': loads of several sources side by side meet
only here, each takes its rows in the order of their keys, and nobody holds them for long. A row
that no fact came to need (a crash in between) is found by the next load.
"""

from collections.abc import Sequence
from typing import Final

import duckdb
import pyarrow as pa

from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.dimensions import DATES, DIMENSIONS, Dimension
from callkeeper_assets.warehouse.errors import DuplicateRowError, WarehouseError
from callkeeper_assets.warehouse.session import Session, as_list
from callkeeper_assets.warehouse.tables import TABLES

# Keys remembered between batches, in each dimension: memory must not grow with the period.
_REMEMBERED: Final = 25_000
_ATTEMPTS: Final = 3


class DimensionRows:
    """Ids of dimensions' rows by key, for the batches of one load.

    Keeps `known_<short>(key, id, is_new)` in the given DuckDB, where `frame` is the batch.
    """

    def __init__(self, session: Session, duck: duckdb.DuckDBPyConnection) -> None:
        self._session = session
        self._duck = duck
        for dimension in DIMENSIONS:
            duck.execute(
                f"CREATE OR REPLACE TEMP TABLE known_{dimension.short} "
                "(key UUID, id INTEGER, is_new BOOLEAN)"
            )
        duck.execute("CREATE OR REPLACE TEMP TABLE known_dates (id INTEGER, is_new BOOLEAN)")

    def resolve(self, chosen: tuple[str, ...]) -> None:
        """Make every key in `frame` known."""
        for dimension in DIMENSIONS:
            if dimension.table in chosen:
                self._forget(f"known_{dimension.short}")
                self._resolve(dimension)
        if DATES in chosen:
            self._forget("known_dates")
            self._resolve_dates()

    def _insert(self, statement: str, rows: pa.Table) -> pa.Table:
        """Insert rows that were not there a moment ago, and return their keys and ids.

        ON CONFLICT nearly doubles the price of a row, so it has to wait until there is a conflict.
        """
        columns = {name: as_list(rows[name]) for name in rows.column_names}
        try:
            return self._session.query(statement.format(conflict=""), columns)
        except DuplicateRowError:
            return self._session.query(statement.format(conflict="ON CONFLICT DO NOTHING"), columns)

    def _forget(self, known: str) -> None:
        rows = self._duck.execute(f"SELECT count(*) FROM {known}").fetchall()[0][0]
        if rows > _REMEMBERED:
            self._duck.execute(f"DELETE FROM {known}")
        else:
            self._duck.execute(f"UPDATE {known} SET is_new = false WHERE is_new")

    def _resolve(self, dimension: Dimension) -> None:
        for _ in range(_ATTEMPTS):
            keys = self._missing(dimension, ())
            if not keys.num_rows:
                return
            found = self._session.query(_find(dimension), {"key": as_list(keys["key"])})
            self._add_found(dimension, found)
            missing = self._missing(dimension, dimension.values)
            if missing.num_rows:
                made = self._insert(_insert(dimension), missing)
                self._add_found(dimension, made, is_new=True)
        raise WarehouseError(
            f"Rows of {dimension.table} vanish as fast as they are made. Is another program "
            f"deleting from it?"
        )

    def _missing(self, dimension: Dimension, values: Sequence[str]) -> pa.Table:
        """Return keys of the batch that are not known, with the named values of each."""
        statement = read_sql("missing_keys").format(
            key=dimension.key,
            short=dimension.short,
            values="".join(f", any_value({value}) AS {value}" for value in values),
        )
        return self._duck.sql(statement).to_arrow_table()

    def _add_found(self, dimension: Dimension, found: pa.Table, *, is_new: bool = False) -> None:
        self._duck.register("found", found)
        self._duck.execute(
            f"INSERT INTO known_{dimension.short} SELECT key_hash, id, ? FROM found", [is_new]
        )
        self._duck.unregister("found")

    def _resolve_dates(self) -> None:
        missing = self._duck.sql(read_sql("missing_minutes")).to_arrow_table()
        if not missing.num_rows:
            return
        found = self._session.query(
            "SELECT id FROM general_dates WHERE id = ANY($1)", {"ids": as_list(missing["id"])}
        )
        self._duck.register("found", found)
        self._duck.execute("INSERT INTO known_dates SELECT id, false FROM found")
        self._duck.execute(f"CREATE OR REPLACE TEMP TABLE minutes AS {read_sql('missing_minutes')}")
        rows = self._duck.sql(f"{read_sql('dates')} ORDER BY id").to_arrow_table()
        if rows.num_rows:
            columns = TABLES[DATES].columns
            lists = ", ".join(f"unnest(${n}::{c.type}[])" for n, c in enumerate(columns, 1))
            made = self._insert(
                f"INSERT INTO general_dates ({', '.join(TABLES[DATES].column_names)}) "
                f"SELECT {lists} {{conflict}} RETURNING id",
                rows,
            )
            self._duck.register("found", made)
            self._duck.execute("INSERT INTO known_dates SELECT id, true FROM found")
        self._duck.execute(
            "INSERT INTO known_dates SELECT id, false FROM minutes "
            "WHERE id NOT IN (SELECT id FROM known_dates)"
        )
        self._duck.unregister("found")


def _find(dimension: Dimension) -> str:
    return f"SELECT id, key_hash FROM {dimension.table} WHERE key_hash = ANY($1::text[]::uuid[])"


def _insert(dimension: Dimension) -> str:
    """Rows that another load made meanwhile are left out, and found by the next attempt."""
    columns = ", ".join(f'"{column}"' for column in dimension.columns)
    lists = ", ".join(f"unnest(${n}::text[])" for n in range(2, len(dimension.columns) + 2))
    return (
        f"INSERT INTO {dimension.table} (key_hash, {columns}) "
        f"SELECT unnest($1::text[]::uuid[]), {lists} "
        f"{{conflict}} RETURNING id, key_hash"
    )
