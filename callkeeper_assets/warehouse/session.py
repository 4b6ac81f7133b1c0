"""One connection to PostgreSQL that speaks Arrow both ways (ADBC): statements, queries, COPY."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, cast

import adbc_driver_postgresql
import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcDatabase
from adbc_driver_postgresql import dbapi

from callkeeper_assets.postgres import build_conninfo, explain_failure
from callkeeper_assets.postgres.locks import CALLS_LOCK, DIMENSIONS_LOCK, check_locks
from callkeeper_assets.postgres.url import SET_NEWER
from callkeeper_assets.privacy.numbers import erase_numbers
from callkeeper_assets.warehouse.records import (
    BadDataError,
    DuplicateRowError,
    SchemaError,
    UnavailableError,
    WarehouseError,
)
from callkeeper_assets.warehouse.tables import TABLES

# In the statement's order; the names say what is what. A value is a number, a text, a day, a moment
# (aware), a list of one of these, or a column of Arrow's for a list. What may be empty, or nothing
# but None, needs a type: an array of one value.
Parameters: TypeAlias = Mapping[str, Any]
MOMENT: Final = pa.timestamp("us", "UTC")

# Shorter than a phone number: a part of one that a message has cut.
_LONG_NUMBER = re.compile(r"\+?\d{6,}")
_UNIQUE_VIOLATION = "23505"
# Class of SQLSTATE: a value that the column's type does not take.
_DATA = "22"
_MISSING_TABLE = ("42P01", "42703")
# Classes of SQLSTATE: connection, resources, operator's intervention, rollback of a transaction.
_TRANSIENT = ("08", "53", "57", "40", "55")

_NOTHING_STORED: Final = "Nothing of this batch is stored; try again"


def list_column(values: Sequence[Any], item: pa.DataType) -> pa.Array:
    """Return a list as a parameter: of this type also when it is empty, or has None alone."""
    return pa.array([values], pa.list_(item))


def _bind(parameters: Parameters) -> pa.RecordBatch:
    """Make one row of the values; a column becomes a list, what `unnest($1)` takes apart."""
    arrays = {}
    for name, value in parameters.items():
        if isinstance(value, pa.ChunkedArray):
            column = (
                pa.concat_arrays(value.chunks) if value.num_chunks else pa.array([], value.type)
            )
            arrays[name] = pa.ListArray.from_arrays(pa.array([0, len(column)], pa.int32()), column)
        else:
            arrays[name] = value if isinstance(value, pa.Array) else pa.array([value])
    return pa.record_batch(arrays)


def explain_error(
    state: str,
    text: str,
    action: str,
    outcome: str = _NOTHING_STORED,
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


@contextmanager
def explained(action: str, outcome: str = _NOTHING_STORED) -> Iterator[None]:
    """Raise psycopg's errors as the warehouse's, without the values in them (`explain_error`)."""
    import psycopg  # noqa: PLC0415 -- a session goes without

    try:
        yield
    except psycopg.Error as error:
        text = error.diag.message_primary or str(error)
        raise explain_error(error.sqlstate or "", text, action, outcome) from None


def _explain(error: dbapi.Error, action: str) -> WarehouseError:
    return explain_error(error.sqlstate or "", str(error), action)


@lru_cache(maxsize=1)
def _open_database(conninfo: str) -> AdbcDatabase:
    """Have the driver learn the server's types: 40 ms, a tenth of which a connection takes."""
    database: AdbcDatabase = adbc_driver_postgresql.connect(conninfo)
    return database


def prepare_sessions(url: str) -> None:
    """Have the types read for the sessions of processes that are forked from this one.

    It leaves no connection. Where the database cannot be reached each session tries for itself, and
    says so.
    """
    with suppress(dbapi.Error):
        _open_database(build_conninfo(url))


class _Lasting:
    """In place of a database, which a connection would close with itself."""

    def close(self) -> None:
        """Leave it open, for the next one."""


class Session:
    """A connection, each statement a transaction of its own but inside `transaction`."""

    def __init__(self, url: str) -> None:
        try:
            connection = AdbcConnection(_open_database(build_conninfo(url)))
            self._connection = dbapi.Connection(
                cast("AdbcDatabase", _Lasting()), connection, autocommit=True
            )
        except dbapi.Error as error:
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

    @contextmanager
    def _cursor(self, action: str) -> Iterator[dbapi.Cursor]:
        try:
            with self._connection.cursor() as cursor:
                yield cursor
        except dbapi.Error as error:
            raise _explain(error, action) from None

    def execute(self, sql: str, parameters: Parameters | None = None) -> int:
        """Run a statement and return how many rows it concerned."""
        with self._cursor("run a statement") as cursor:
            cursor.executemany(sql, None if parameters is None else _bind(parameters))
            return int(cursor.rowcount)

    def query(self, sql: str, parameters: Parameters | None = None) -> pa.Table:
        """Run a statement and return its rows."""
        with self._cursor("answer a query") as cursor:
            cursor.execute(sql, None if parameters is None else _bind(parameters))
            # Of the cursor's ways to read it is the one for tables that keeps errors' SQLSTATE.
            return cursor.fetch_arrow_table()

    def copy(self, table: str, rows: pa.Table, *, temporary: bool = False) -> None:
        """Append rows by binary COPY; columns by name."""
        if not rows.num_rows:
            return
        with self._cursor(f"take rows of {table}") as cursor:
            cursor.adbc_ingest(
                table,
                rows,
                mode="append",
                # Else the first of the search path.
                db_schema_name=None if temporary else TABLES[table].schema,
                temporary=temporary,
            )

    def reserve_ids(self, table: str, count: int) -> pa.Table:
        """Take so many new ids of a table, in order; they are used up even if no row gets them."""
        return self.query(
            f"SELECT nextval(s.name)::{TABLES[table].column('id').type} AS id "
            "FROM generate_series(1, $1), "
            # Looked up once, not for each id.
            f"(SELECT pg_get_serial_sequence('{table}', 'id')::regclass AS name OFFSET 0) AS s",
            {"count": count},
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
        connection = self._connection.adbc_connection
        try:
            connection.set_autocommit(False)
            yield
            check_locks()
            connection.commit()
            connection.set_autocommit(True)
        except BaseException as error:
            # A connection that is gone has undone them itself.
            with suppress(dbapi.Error):
                connection.rollback()
                connection.set_autocommit(True)
            if isinstance(error, dbapi.Error):
                raise _explain(error, "commit") from None
            raise
