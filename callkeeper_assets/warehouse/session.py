"""One connection to PostgreSQL that speaks Arrow both ways (ADBC): statements, queries, COPY.

ADBC's low level: its `dbapi` imports pandas, which costs a second a process. Values are bound as
Arrow arrays, so that a list of 20,000 keys is one parameter.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import pyarrow as pa

# Arrow's own reader turns the driver's errors into OSError, without what the server said.
from adbc_driver_manager._reader import AdbcRecordBatchReader

from callkeeper_assets.database import build_conninfo, explain_failure
from callkeeper_assets.database.locks import CALLS_LOCK, DIMENSIONS_LOCK, check_locks
from callkeeper_assets.database.settings import SET_NEWER
from callkeeper_assets.privacy.numbers import erase_numbers
from callkeeper_assets.warehouse.arrow import INT, build_array
from callkeeper_assets.warehouse.errors import (
    BadDataError,
    DuplicateRowError,
    SchemaError,
    UnavailableError,
    WarehouseError,
)
from callkeeper_assets.warehouse.tables import TABLES

Parameters = Mapping[str, pa.Array]

# Shorter than a phone number: a part of one that a message has cut.
_LONG_NUMBER = re.compile(r"\+?\d{6,}")
_UNIQUE_VIOLATION = "23505"
# Class of SQLSTATE: a value that the column's type does not take.
_DATA = "22"
_MISSING_TABLE = ("42P01", "42703")
# Classes of SQLSTATE: connection, resources, operator's intervention, rollback of a transaction.
_TRANSIENT = ("08", "53", "57", "40", "55")


def as_list(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Make a column one value, a list: what `unnest($1)` takes apart."""
    if isinstance(values, pa.ChunkedArray) and not values.num_chunks:
        # combine_chunks would make the empty array from a Python list: that imports pandas.
        values = pa.nulls(0, values.type)
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.chunk(0)
    return pa.ListArray.from_arrays(build_array([0, len(flat)], INT), flat)


def explain_error(
    state: str,
    text: str,
    action: str,
    outcome: str = "Nothing of this batch is stored; try again",
) -> WarehouseError:
    """Say what failed, without the values in it: detail lines, and what could be a phone.

    Args:
        state: SQLSTATE; empty if the server said none.
        text: the driver's.
        action: what PostgreSQL was to do.
        outcome: how things stand, and what to do, if it may be able to another time.
    """
    first = _LONG_NUMBER.sub("…", erase_numbers(text.partition("\n")[0], "…"))[:300].rstrip(". ")
    said = f"PostgreSQL did not {action}: {first}"
    if state in _MISSING_TABLE:
        return SchemaError(f"{said}. The tables are not this program's: run `callkeeper check`.")
    if state == _UNIQUE_VIOLATION:
        return DuplicateRowError(said)
    if state.startswith(_DATA):
        return BadDataError(f"{said} (SQLSTATE {state}).")
    if not state or state.startswith(_TRANSIENT):
        return UnavailableError(f"{said}. {outcome}.")
    return WarehouseError(f"{said} (SQLSTATE {state}).")


def _explain(error: adbc.Error, action: str) -> WarehouseError:
    return explain_error(error.sqlstate or "", str(error), action)


class Session:
    """A connection, each statement a transaction of its own but inside `transaction`."""

    def __init__(self, url: str) -> None:
        try:
            self._database = adbc_driver_postgresql.connect(build_conninfo(url))
            self._connection = adbc.AdbcConnection(self._database)
        except adbc.Error as error:
            raise explain_failure(url, error) from None
        try:
            self.query(SET_NEWER)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; locks and an open transaction go with it."""
        self._connection.close()
        self._database.close()

    @contextmanager
    def _statement(self, action: str) -> Iterator[adbc.AdbcStatement]:
        try:
            with adbc.AdbcStatement(self._connection) as statement:
                yield statement
        except adbc.Error as error:
            raise _explain(error, action) from None

    def execute(self, sql: str, parameters: Parameters | None = None) -> int:
        """Run a statement and return how many rows it concerned."""
        with self._statement("run a statement") as statement:
            statement.set_sql_query(sql)
            if parameters is not None:
                statement.prepare()
                statement.bind(pa.record_batch(dict(parameters)))
            return int(statement.execute_update())

    def query(self, sql: str, parameters: Parameters | None = None) -> pa.Table:
        """Run a statement and return its rows."""
        with self._statement("answer a query") as statement:
            statement.set_sql_query(sql)
            if parameters is not None:
                statement.bind(pa.record_batch(dict(parameters)))
            stream, _ = statement.execute_query()
            return AdbcRecordBatchReader._import_from_c(stream.address).read_all()  # noqa: SLF001

    def copy(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """Append rows by binary COPY; columns by name."""
        if not rows.num_rows:
            return
        with self._statement(f"take rows of {table}") as statement:
            options = {
                "adbc.ingest.target_table": table,
                "adbc.ingest.mode": "adbc.ingest.mode.append",
            }
            if temporary:
                options["adbc.ingest.temporary"] = "true"
            statement.set_options(**options)
            statement.bind_stream(rows.to_reader())
            statement.execute_update()

    def reserve_ids(self, table: str, count: int) -> pa.Table:
        """Take so many new ids of a table, in order; they are used up even if no row gets them."""
        return self.query(
            f"SELECT nextval(s.name)::{TABLES[table].column('id').type} AS id "
            "FROM generate_series(1, $1), "
            # Looked up once, not for each id.
            f"(SELECT pg_get_serial_sequence('{table}', 'id')::regclass AS name OFFSET 0) AS s",
            {"count": build_array([count], INT)},
        )

    @contextmanager
    def lock(self, account_id: int) -> Iterator[None]:
        """Keep every other writer of the source's calls waiting."""
        with self._hold("", f"({CALLS_LOCK}, {account_id})"):
            yield

    @contextmanager
    def keep_dimensions(self) -> Iterator[None]:
        """Keep those waiting who delete rows of dimensions; many batches may at once."""
        with self._hold("_shared", f"({DIMENSIONS_LOCK})"):
            yield

    @contextmanager
    def _hold(self, kind: str, key: str) -> Iterator[None]:
        self.query(f"SELECT 1 FROM pg_advisory_lock{kind}{key}")
        try:
            yield
        except BaseException:
            # A connection that is gone has let go of its locks.
            with suppress(WarehouseError):
                self.query(f"SELECT 1 FROM pg_advisory_unlock{kind}{key}")
            raise
        self.query(f"SELECT 1 FROM pg_advisory_unlock{kind}{key}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the statements inside one transaction; an exception, or a lost lock, undoes them."""
        try:
            self._connection.set_autocommit(False)
            yield
            check_locks()
            self._connection.commit()
            self._connection.set_autocommit(True)
        except BaseException as error:
            # A connection that is gone has undone them itself.
            with suppress(adbc.Error):
                self._connection.rollback()
                self._connection.set_autocommit(True)
            if isinstance(error, adbc.Error):
                raise _explain(error, "commit") from None
            raise
