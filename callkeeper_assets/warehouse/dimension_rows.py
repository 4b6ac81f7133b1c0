"""Finds the ids of dimensions' rows, and makes the rows that are missing.

In short transactions of their own, before the facts': loads of several sources side by side meet
only here, each takes its rows in the order of their keys, and nobody holds them for long. A row
that no fact came to need (a crash in between) is found by the next load.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import duckdb
import pyarrow as pa

from callkeeper_assets.database.locks import check_locks
from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.dimensions import DATES, DIMENSIONS, Dimension
from callkeeper_assets.warehouse.errors import DuplicateRowError, WarehouseError
from callkeeper_assets.warehouse.session import Session

# Keys remembered between batches, in each dimension: memory must not grow with the period.
_REMEMBERED: Final = 25_000
_ATTEMPTS: Final = 3
_DELETIONS: Final = "SELECT last_value FROM callkeeper_dimension_deletions"


class DimensionRows:
    """Ids of dimensions' rows by key, for the batches of one load.

    Keeps `known_<short>(key, id, is_new)` in the given DuckDB, where `frame` is the batch.
    """

    def __init__(self, session: Session, duck: duckdb.DuckDBPyConnection) -> None:
        self._session = session
        self._duck = duck
        self._deletions: int | None = None
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

    def resolve(self, chosen: tuple[str, ...]) -> None:
        """Make every key in `frame` known; valid while `kept`."""
        for dimension in DIMENSIONS:
            if dimension.table in chosen:
                self._forget(f"known_{dimension.short}")
                self._resolve(dimension)
        if DATES in chosen:
            self._forget("known_dates")
            self._resolve_dates()

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
        for _ in range(_ATTEMPTS):
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
        # COPY takes a UUID as its 16 bytes, not as text. Truth values, which it takes as they are
        # only without this setting, are in no dimension.
        self._duck.execute("SET arrow_lossless_conversion = true")
        rows = self._duck.sql(
            f"SELECT key AS key_hash, {columns} FROM wanted "
            f"WHERE key NOT IN (SELECT key FROM {known}) ORDER BY key"
        ).to_arrow_table()
        self._duck.execute("RESET arrow_lossless_conversion")
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

    def _resolve_dates(self) -> None:
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
