"""`ck.calls`, `ck.raw_calls`, `ck.report`, `ck.connect`: what is loaded, as pandas or Arrow.

Rows come by ADBC, which is Arrow from PostgreSQL's binary COPY on; a frame of pandas has Arrow's
types over the same memory. Calls and their facts come apart, and are joined here, in Arrow; halves
of a long period side by side, by connections that see the same moment of the database. Only reads:
the sources' configuration says names and time zones, and the embedded database serves as it does
commands, until this process ends.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from callkeeper_assets.analysis.columns import (
    BECOME_READER,
    ORDER,
    NothingLoadedError,
    ReadingError,
    Statements,
    Where,
    build_statements,
    choose_columns,
    read_where,
    write_literal,
)
from callkeeper_assets.config.errors import capitalise, describe_unknown
from callkeeper_assets.config.loading import defs_folder, load_sources
from callkeeper_assets.config.source import Source
from callkeeper_assets.home import project_root, raw_url
from callkeeper_assets.local_time import day_start
from callkeeper_assets.postgres.url import SET_NEWER, build_conninfo, database_url, explain_failure
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.definition import Report, ReportTable
from callkeeper_assets.reports.structure import CALL_COLUMN, DAY_COLUMN, REPORT_COLUMN
from callkeeper_assets.warehouse.records import SchemaError
from callkeeper_assets.warehouse.schema import CALLS, DATES
from callkeeper_assets.warehouse.session import explain_error

if TYPE_CHECKING:
    import pandas as pd

Library = Literal["pandas", "arrow"]
Day = date | str

_DAY: Final = timedelta(days=1)
_MOST_DAYS_NAMED: Final = 5
# A reading of at least so many days is worth so many connections for calls: a connection takes a
# tenth of a second on a busy machine.
_FEW_DAYS: Final = 32
_PARTS: Final = 2
_FARTHEST_ZONE: Final = timedelta(hours=15)
# In an account's report: what kind of values each field has, so far as they are of one kind.
_KIND_OF_FIELD: Final = """
    SELECT
        count(*) FILTER (WHERE jsonb_typeof(v) NOT IN ('number', 'null')) = 0
            AND bool_or(jsonb_typeof(v) = 'number') IS TRUE AS is_number,
        count(*) FILTER (WHERE jsonb_typeof(v) NOT IN ('boolean', 'null')) = 0
            AND bool_or(jsonb_typeof(v) = 'boolean') IS TRUE AS is_boolean,
        coalesce(
            bool_and(v::text ~ '^-?[0-9]{1,18}$') FILTER (WHERE jsonb_typeof(v) = 'number'), false
        ) AS is_whole
    FROM (SELECT data->%(field)s AS v FROM callkeeper_reports WHERE %(scope)s) AS f
"""


class MissingDaysWarning(UserWarning):
    """Some of the days that were asked for are not loaded: the frame has the others."""


@cache
def _read_env_file() -> None:
    """Set what the project's `.env` has and the environment has not, as each command does."""
    file = project_root() / ".env"
    if file.is_file():
        from dotenv import load_dotenv  # noqa: PLC0415 -- most installations have no such file

        load_dotenv(file, override=False)


def connect() -> dbapi.Connection:
    """Connect to the warehouse, read-only.

    ADBC's DBAPI connection: `pandas.read_sql`, polars and DuckDB take it as it is, and read Arrow
    from it; psycopg's would come row by row, and pandas warns of it. Each statement is a
    transaction of its own, so that no forgotten notebook holds one open; parameters are `$1`, `$2`.
    Read-only keeps from accidents; who must not write needs a role of their own in PostgreSQL.

    Raises:
        DatabaseError: No connection, or the embedded server does not start.
    """
    _read_env_file()
    url = database_url()
    given = build_conninfo(url)
    options = f"{conninfo_to_dict(given)['options']} -c default_transaction_read_only=on"
    try:
        connection = dbapi.connect(make_conninfo(given, options=options), autocommit=True)
        for statement in (SET_NEWER, BECOME_READER):
            with connection.cursor() as cursor:
                cursor.execute(statement)
                cursor.fetch_arrow_table()
    except dbapi.Error as error:
        raise explain_failure(url, error) from None
    return connection


def _query(connection: dbapi.Connection, statement: str) -> pa.Table:
    """Return a statement's rows; without parameters, so that they come by COPY."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetch_arrow_table()
    except dbapi.Error as error:
        found = explain_error(error.sqlstate or "", str(error), "answer a query", "Try again")
        if isinstance(found, SchemaError):
            raise NothingLoadedError(
                "Nothing is loaded yet in this database, or its tables are not this version's. "
                "Run: callkeeper check"
            ) from None
        raise found from None


def _run(connection: dbapi.Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _choose(names: str | Iterable[str] | None) -> list[Source]:
    """Return the named sources, or all.

    Raises:
        ReadingError: One is unknown, or its configuration is refused, or there is none.
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    _read_env_file()
    sources, broken = load_sources()
    wanted = [names] if isinstance(names, str) else None if names is None else list(names)
    if not sources and not broken:
        raise ReadingError(f"There is no source in {defs_folder()} yet.")
    by_name = {source.name: source for source in sources}
    refused = {one.name: one for one in broken}
    for name in wanted or ():
        if name in refused:
            problems = "; ".join(refused[name].problems)
            raise ReadingError(f"The configuration of source '{name}' is refused: {problems}")
        if name not in by_name:
            raise ReadingError(capitalise(describe_unknown("source", str(name), by_name)))
    if wanted is not None and not wanted:
        raise ReadingError("No source is named: name some, or None for all.")
    return sources if wanted is None else [by_name[name] for name in dict.fromkeys(wanted)]


def _read_day(name: str, day: Day) -> date:
    if isinstance(day, datetime):
        return day.date()
    if isinstance(day, date):
        return day
    try:
        return date.fromisoformat(day)
    except (TypeError, ValueError):
        raise ReadingError(f"{name}={day!r}: a day is a date, or written 2026-01-31.") from None


def _read_period(first: Day, last: Day) -> tuple[date, date]:
    begin, end = _read_day("first", first), _read_day("last", last)
    if end < begin:
        raise ReadingError(f"first={begin} is after last={end}.")
    return begin, end


def _check_library(library: str) -> None:
    if library not in {"pandas", "arrow"}:
        raise ReadingError(f'as_={library!r}: it is "pandas" or "arrow".')


def _convert(table: pa.Table, library: Library) -> Any:  # noqa: ANN401 -- either library's
    if library == "arrow":
        return table
    import pandas as pd  # noqa: PLC0415 -- 0.4 s, which who wants Arrow need not pay

    return table.to_pandas(types_mapper=pd.ArrowDtype)


def _localise(table: pa.Table, zone: str) -> pa.Table:
    """Show moments in a zone: a name on the same numbers, nothing is copied. Drops ADBC's marks."""
    columns, fields = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        is_moment = pa.types.is_timestamp(field.type) and field.type.tz is not None
        kind = pa.timestamp(field.type.unit, zone) if is_moment else field.type
        columns.append(column.cast(kind) if is_moment else column)
        fields.append(pa.field(field.name, kind))
    return pa.table(columns, schema=pa.schema(fields))


def _share_zone(sources: Iterable[Source]) -> str:
    """Return the zone of all sources; UTC where they have several, as a column has one."""
    zones = {source.time_zone.key for source in sources}
    return zones.pop() if len(zones) == 1 else "UTC"


def _find_account(connection: dbapi.Connection, source: Source) -> int | None:
    name = write_literal(source.name)
    found = _query(connection, f"SELECT account_id FROM general_accounts WHERE name = {name}")
    return int(found[0][0].as_py()) if found.num_rows else None


def _list_missing(days: Iterable[date], first: date, last: date) -> list[date]:
    wanted = (first + number * _DAY for number in range((last - first).days + 1))
    return sorted(set(wanted) - set(days))


def _tell_missing(source: Source, first: date, last: date, missing: list[date], rows: int) -> None:
    """Say which days are not there: an error if none is and nothing was found.

    Raises:
        NothingLoadedError: so.
    """
    if not missing:
        return
    command = f"callkeeper load {source.name} --from {missing[0]} --to {missing[-1]}"
    if not rows and len(missing) == (last - first).days + 1:
        period = str(first) if first == last else f"{first} to {last}"
        raise NothingLoadedError(f"Source '{source.name}': {period} is not loaded. Run: {command}")
    named = ", ".join(str(day) for day in missing[:_MOST_DAYS_NAMED])
    more = len(missing) - _MOST_DAYS_NAMED
    warnings.warn(
        f"Source '{source.name}': {len(missing)} of the days are not loaded ({named}"
        f"{f' and {more} more' if more > 0 else ''}). Run: {command}",
        MissingDaysWarning,
        stacklevel=4,
    )


@overload
def calls(
    source: str | Iterable[str] | None,
    first: Day,
    last: Day,
    *,
    columns: Iterable[str] | None = None,
    where: Where | None = None,
    as_: Literal["pandas"] = "pandas",
) -> "pd.DataFrame": ...
@overload
def calls(
    source: str | Iterable[str] | None,
    first: Day,
    last: Day,
    *,
    columns: Iterable[str] | None = None,
    where: Where | None = None,
    as_: Literal["arrow"],
) -> pa.Table: ...
def calls(
    source: str | Iterable[str] | None,
    first: Day,
    last: Day,
    *,
    columns: Iterable[str] | None = None,
    where: Where | None = None,
    as_: Library = "pandas",
) -> Any:
    """Return calls with their dimensions, one row each, by source in the order named, then by time.

    Args:
        source: A source's name, several, or None for all.
        first: The first day, in the source's time zone: a date, or text as 2026-01-31.
        last: The last day, included.
        columns: Names, of docs/python.md; None gives all.
        where: By column a value, a list of values, None, or ops: `{"status": "success",
            "talk_sec": {"ge": 30}, "city": ["Москва", "Тула"]}`; or the list that `filters` of
            `defs.yaml` is. Days and times without a zone mean the source's.
        as_: `pandas`: a DataFrame with Arrow's types; `arrow`: a pyarrow Table.

    Returns:
        Moments are in the source's time zone, and in UTC where several sources have several zones.
        What is unknown is missing (NA).

    Raises:
        NothingLoadedError: None of a source's days is loaded, and nothing of them is there.
        ReadingError: An unknown source or column, days in the wrong order, a filter that cannot be.
        DatabaseError: No connection.
        WarehouseError: The database did not answer.

    Warns:
        MissingDaysWarning: Some of the days are not loaded.
    """
    _check_library(as_)
    begin, end = _read_period(first, last)
    names, filters = choose_columns(columns), read_where(where)
    sources = _choose(source)
    parts = 1 if (end - begin).days < _FEW_DAYS else _PARTS
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(connect())) for _ in range(parts)]
        _share_snapshot(connections)
        tables = []
        for one in sources:
            is_dated = DATES in one.tables
            statements = build_statements(names, filters, one.time_zone, is_dated=is_dated)
            found = _read_calls(connections, one, statements, (begin, end))
            tables.append(_localise(found.select(names), _share_zone(sources)))
    return _convert(pa.concat_tables(tables), as_)


def _share_snapshot(connections: Sequence[dbapi.Connection]) -> None:
    """Begin a transaction in each, which see the same until their ends."""
    for connection in connections:
        _run(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    first, *others = connections
    snapshot = _query(first, "SELECT pg_export_snapshot()")[0][0].as_py()
    for connection in others:
        _run(connection, f"SET TRANSACTION SNAPSHOT {write_literal(snapshot)}")


def _split(start: datetime, end: datetime, parts: int) -> list[tuple[datetime, datetime]]:
    """Return stretches of the same length, in their order, each beginning where one ends."""
    edges = [start + (end - start) * number / parts for number in range(parts)] + [end]
    return list(pairwise(edges))


def _read_calls(
    connections: Sequence[dbapi.Connection],
    source: Source,
    statements: Statements,
    period: tuple[date, date],
) -> pa.Table:
    """Return a source's calls with all that the statements ask for, moments in UTC.

    Each connection brings a stretch of the time, side by side.
    """
    if CALLS not in source.tables:
        raise ReadingError(
            f"Source '{source.name}' has no calls: {source.file} leaves {CALLS} out."
        )
    first, last = period
    connection = connections[0]
    # No row has a NULL: a source that is not loaded gives an empty table with the right types.
    account = f"{write_literal(_find_account(connection, source))}::integer"
    loaded = _query(
        connection,
        f"SELECT day FROM callkeeper_days WHERE account_id = {account} "
        f"AND day BETWEEN {write_literal(first)} AND {write_literal(last)}",
    )
    start, end = day_start(first, source.time_zone), day_start(last + _DAY, source.time_zone)
    with ThreadPoolExecutor(len(connections)) as pool:
        waiting = [
            pool.submit(_read_stretch, one, statements, {"account": account, **_bound(*edges)})
            for one, edges in zip(connections, _split(start, end, len(connections)), strict=True)
        ]
        try:
            found = pa.concat_tables([one.result() for one in waiting])
        except BaseException:
            for one in connections:
                one.adbc_cancel()
            raise
    missing = _list_missing(loaded["day"].to_pylist(), first, last)
    _tell_missing(source, first, last, missing, found.num_rows)
    return found.append_column("source", pa.repeat(source.name, found.num_rows))


def _bound(start: datetime, end: datetime) -> dict[str, object]:
    """Return what stands in a statement for a stretch of time."""
    # Minutes are of clocks on walls, which go before and after UTC by less than that.
    minutes = [int(at.timestamp()) // 60 for at in (start - _FARTHEST_ZONE, end + _FARTHEST_ZONE)]
    return {
        "start": write_literal(start),
        "end": write_literal(end),
        "first_minute": minutes[0],
        "last_minute": minutes[1],
    }


def _read_stretch(
    connection: dbapi.Connection, statements: Statements, bounds: Mapping[str, object]
) -> pa.Table:
    # From the table's beginning, by one process: rows come as they were loaded, mostly in order.
    _run(connection, "SET LOCAL max_parallel_workers_per_gather = 0")
    _run(connection, "SET LOCAL synchronize_seqscans = off")
    calls = _query(connection, statements.calls % bounds).combine_chunks()
    places = pc.sort_indices(calls, [(name, "ascending") for name in ORDER])
    if not (np.diff(places.to_numpy().astype("int64")) == 1).all():
        calls = calls.take(places)
    if not statements.facts:
        return calls
    facts = _query(connection, statements.facts % bounds)
    return _join_facts(connection, calls, facts, statements.dimensions)


def _join_facts(
    connection: dbapi.Connection,
    calls: pa.Table,
    facts: pa.Table,
    dimensions: Mapping[str, str],
) -> pa.Table:
    """Return calls with the columns of their facts, and of the dimensions' rows, where they are."""
    found = _join(calls, "_id", facts)
    for alias, statement in dimensions.items():
        ids = write_literal(pc.unique(found[f"_{alias}"]).drop_null().to_pylist())
        rows = _query(connection, statement % {"ids": f"{ids}::integer[]"})
        found = _join(found, f"_{alias}", rows)
    if "_dates" in found.column_names:
        # What a minute's key is, by the data dictionary.
        minutes = pc.if_else(pc.equal(found["_dates"], 1), None, found["_dates"])
        clock = pc.multiply(minutes.cast(pa.int64()), 60).cast(pa.timestamp("s"))
        found = found.append_column("day", clock.cast(pa.date32()))
        weekday = pc.day_of_week(clock, count_from_zero=False)
        found = found.append_column("weekday", weekday.cast(pa.int16()))
        found = found.append_column("hour", pc.hour(clock).cast(pa.int16()))
    return found


def _join(left: pa.Table, key: str, right: pa.Table) -> pa.Table:
    """Return `left` in its order, with the columns of the row of `right` whose `_id` is its key."""
    rows = right.drop_columns("_id").take(pc.index_in(left[key], right["_id"].combine_chunks()))
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        left = left.append_column(name, column)
    return left


@overload
def raw_calls(
    source: str, first: Day, last: Day, *, as_: Literal["pandas"] = "pandas"
) -> "Iterator[pd.DataFrame]": ...
@overload
def raw_calls(
    source: str, first: Day, last: Day, *, as_: Literal["arrow"]
) -> Iterator[pa.Table]: ...
def raw_calls(source: str, first: Day, last: Day, *, as_: Library = "pandas") -> Iterator[Any]:
    """Return calls as they were received, a frame for each day, read when it is asked for.

    One day is in memory at a time; `pd.concat(ck.raw_calls(…))` makes one frame of all.

    Args:
        source: A source's name.
        first: The first day, as in `calls`.
        last: The last day, included.
        as_: As in `calls`.

    Returns:
        Frames with `day`, `call_id`, `called_at` in the source's time zone, and `payload`: the
        call's JSON as text.

    Raises:
        NothingLoadedError: None of the days has a file. Other errors as in `calls`.
        RawError: A file cannot be read.

    Warns:
        MissingDaysWarning: Some of the days have no file.
    """
    _check_library(as_)
    begin, end = _read_period(first, last)
    (chosen,) = _choose(source)
    store = RawStore(raw_url())
    days = sorted(day for day in store.list_days(chosen.name) if begin <= day <= end)
    _tell_missing(chosen, begin, end, _list_missing(days, begin, end), 0)
    return _read_raw(store, chosen, days, as_)


def _read_raw(store: RawStore, source: Source, days: list[date], as_: Library) -> Iterator[Any]:
    for day in days:
        table = store.read(source.name, day).calls
        columns = {
            "day": pa.repeat(pa.scalar(day, pa.date32()), table.num_rows),
            **{name: table[name] for name in ("call_id", "called_at", "payload")},
        }
        yield _convert(_localise(pa.table(columns), source.time_zone.key), as_)


@overload
def report(
    source: str,
    name: str,
    first: Day,
    last: Day,
    *,
    table: str | None = None,
    as_: Literal["pandas"] = "pandas",
) -> "pd.DataFrame": ...
@overload
def report(
    source: str,
    name: str,
    first: Day,
    last: Day,
    *,
    table: str | None = None,
    as_: Literal["arrow"],
) -> pa.Table: ...
def report(
    source: str,
    name: str,
    first: Day,
    last: Day,
    *,
    table: str | None = None,
    as_: Library = "pandas",
) -> Any:
    """Return the rows of a custom report, as it was last built.

    Args:
        source: A source's name.
        name: The report's, in the source's `defs.yaml`.
        first: The first day, as in `calls`.
        last: The last day, included.
        table: Which table of its structure; needed only where it has several.
        as_: As in `calls`.

    Returns:
        Of a report with a structure `callkeeper_day` and the table's columns (`numeric` as double,
        `jsonb` as text); of another one `call_id`, `called_at` and a column for each field: numbers
        or booleans where all its values in these days are, else text.

    Raises:
        NothingLoadedError: The report was built for none of the days. Other errors as in `calls`.

    Warns:
        MissingDaysWarning: It was not built for some of the days.
    """
    _check_library(as_)
    begin, end = _read_period(first, last)
    (chosen,) = _choose(source)
    definition = chosen.report(name)
    if definition is None:
        known = [one.name for one in chosen.reports]
        raise ReadingError(capitalise(describe_unknown("report", name, known)))
    place = _choose_table(definition, table)
    with closing(connect()) as connection:
        account = write_literal(_find_account(connection, chosen))
        scope = (
            f"account_id = {account} AND {{}} = {write_literal(name)} AND {{}} BETWEEN "
            f"{write_literal(begin)} AND {write_literal(end)}"
        )
        if place is None:
            found = _read_rows(connection, definition, scope.format("report", "day"))
        else:
            found = _query(
                connection, _select_table(place, scope.format(REPORT_COLUMN, DAY_COLUMN))
            )
        built = _query(
            connection,
            f"SELECT day FROM callkeeper_report_days WHERE {scope.format('report', 'day')}",
        )
    missing = _list_missing(built["day"].to_pylist(), begin, end)
    if missing:
        _tell_not_built(chosen, name, (begin, end), missing)
    return _convert(_localise(found, chosen.time_zone.key), as_)


def _choose_table(definition: Report, table: str | None) -> ReportTable | None:
    by_name: Mapping[str, ReportTable] = {one.name: one for one in definition.structure}
    if table is None and len(by_name) > 1:
        raise ReadingError(
            f"Report '{definition.name}' has several tables: say table=, one of "
            f"{', '.join(by_name)}."
        )
    if table is not None and table not in by_name:
        raise ReadingError(capitalise(describe_unknown("table of the report", table, by_name)))
    return next(iter(by_name.values()), None) if table is None else by_name[table]


def _select_table(place: ReportTable, scope: str) -> str:
    casts = {"numeric": "::double precision", "jsonb": "::text"}
    shown = ", ".join(f'"{one.name}"{casts.get(one.type, "")}' for one in place.columns)
    return (
        f"SELECT {DAY_COLUMN}, {shown} "
        f'FROM "{place.name}" WHERE {scope} ORDER BY {DAY_COLUMN}, {CALL_COLUMN}'
    )


def _read_rows(connection: dbapi.Connection, definition: Report, scope: str) -> pa.Table:
    columns = []
    for number, (field, _) in enumerate(definition.fields):
        name = write_literal(field)
        kinds = _query(connection, _KIND_OF_FIELD % {"field": name, "scope": scope}).to_pylist()[0]
        number_type = "bigint" if kinds["is_whole"] else "double precision"
        cast = number_type if kinds["is_number"] else "boolean" if kinds["is_boolean"] else "text"
        columns.append(f"(data->>{name})::{cast} AS f{number}")
    found = _query(
        connection,
        f"SELECT call_id, called_at, {', '.join(columns)} "
        f"FROM callkeeper_reports WHERE {scope} ORDER BY called_at, call_id",
    )
    return found.rename_columns(["call_id", "called_at", *(name for name, _ in definition.fields)])


def _tell_not_built(
    source: Source, name: str, period: tuple[date, date], missing: list[date]
) -> None:
    command = f"callkeeper report {source.name} {name} --from {missing[0]} --to {missing[-1]}"
    if len(missing) == (period[1] - period[0]).days + 1:
        raise NothingLoadedError(
            f"Report '{name}' of source '{source.name}' was not built for these days. "
            f"Run: {command}"
        )
    warnings.warn(
        f"Report '{name}' of source '{source.name}' was not built for {len(missing)} of the days. "
        f"Run: {command}",
        MissingDaysWarning,
        stacklevel=3,
    )
