"""Retention: what a source has that is older than it keeps goes from everywhere, or is counted.

Every table that holds calls is named here once, with the condition that finds an account's days in
it; a dry run counts by the same conditions that a real one deletes by. A day goes in one
transaction, as it was loaded. Tables come first: each step finds by itself what is left for it, so
that the next retention ends what one that was killed began. The load log stays: it says how many
rows each day had, and nothing of a call. Knows nothing of Dagster, whose own records it leaves.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from callkeeper_assets.language import mark
from callkeeper_assets.local_time import day_start, find_day
from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.locks import CALLS_LOCK, check_locks, lock_transaction
from callkeeper_assets.raw.place import StoreError
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.accounts import find_account_by_name
from callkeeper_assets.warehouse.dimension_rows import count_orphans, delete_orphans, vacuum_tables
from callkeeper_assets.warehouse.records import Account, Deleted, RetentionResult
from callkeeper_assets.warehouse.schema import CALLS, FACTS, WEBHOOKS
from callkeeper_assets.warehouse.session import explained
from callkeeper_assets.webhooks.receivers import list_silent, read_moment
from callkeeper_assets.webhooks.spool import drop_old_payloads

Connection = psycopg.Connection[Any]

REPEATS: Final = "callkeeper_webhook_repeats"
# A receiver that has the database says so every two seconds.
_LONGEST_SILENCE: Final = timedelta(minutes=1)
# Payloads of one transaction.
_INBOX_ROWS: Final = 2_000
_DAY_BOUNDS: Final = "day BETWEEN %(first)s AND %(last)s"
_MOMENT_BOUNDS: Final = "called_at >= %(since)s AND called_at < %(until)s"
_RECEIVED: Final = "coalesce(called_at, received_at) < %(until)s"

_COUNT: Final = """
    SELECT count(*), coalesce(sum(pg_column_size(ROW(t.*))), 0)::bigint
    FROM {table} AS t
    WHERE {condition}
"""
_DELETE: Final = """
    WITH gone AS (
        DELETE FROM {table} AS t WHERE {condition} RETURNING pg_column_size(ROW(t.*)) AS bytes
    )
    SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM gone
"""
_REPORT_TABLES: Final = """
    SELECT table_name FROM callkeeper_report_tables
    WHERE to_regclass(quote_ident(table_name)) IS NOT NULL
    ORDER BY table_name
"""
_OLD_PAYLOADS: Final = f"""
    SELECT id, coalesce(called_at, received_at)
    FROM {WEBHOOKS}
    WHERE account_id = %(account_id)s AND id > %(after)s AND {_RECEIVED}
    ORDER BY id
    LIMIT {_INBOX_ROWS}
"""
_FIRST_CALL: Final = f"""
    SELECT min(called_at) FROM {CALLS} WHERE account_id = %(account_id)s AND {_MOMENT_BOUNDS}
"""
_LOG: Final = """
    INSERT INTO callkeeper_loads (
        account_id, table_name, day, origin, rows_added, rows_updated, rows_deleted, started_at,
        finished_at, run_id
    )
    VALUES (%s, %s, %s, 'retention', 0, 0, %s, %s, clock_timestamp(), %s)
"""
_FORGET_INTERVAL: Final = """
    UPDATE general_accounts
    SET interval_start = CASE WHEN interval_end >= %(first)s THEN %(first)s END,
        interval_end = CASE WHEN interval_end >= %(first)s THEN interval_end END
    WHERE account_id = %(account_id)s AND interval_start < %(first)s
"""

# A day after every call's.
AFTER_ALL: Final = date(9000, 1, 1)

RAW_FILES: Final = mark("raw calls, files")
SPOOL: Final = mark("spool, payloads")

_LEFT_OFF: Final = "What it deleted, if anything, stays deleted; the next retention does the rest"

# Called with how many days are deleted, and of how many.
OnDeleted = Callable[[int, int], None]


@dataclass(frozen=True)
class RetentionPlace:
    """Where an account's calls lie.

    Attributes:
        condition: finds the rows of a stretch of days.
        day: the row's day; None if the place knows none.
    """

    table: str
    condition: LiteralString
    day: LiteralString | None = "day"


# Facts before their calls: no fact is ever seen without its call.
PLACES: Final = (
    RetentionPlace(
        FACTS,
        f"calls_id IN (SELECT id FROM {CALLS} WHERE account_id = %(account_id)s "
        f"AND {_MOMENT_BOUNDS})",
        None,
    ),
    RetentionPlace(CALLS, _MOMENT_BOUNDS, None),
    RetentionPlace("callkeeper_reports", _DAY_BOUNDS),
    RetentionPlace("callkeeper_rejects", _DAY_BOUNDS),
    RetentionPlace("callkeeper_report_days", _DAY_BOUNDS),
    RetentionPlace("callkeeper_discrepancies", _DAY_BOUNDS),
    RetentionPlace("callkeeper_webhook_hints", _DAY_BOUNDS),
    RetentionPlace("callkeeper_webhook_days", _DAY_BOUNDS),
    RetentionPlace("callkeeper_lost_webhooks", _DAY_BOUNDS),
    RetentionPlace("callkeeper_days", _DAY_BOUNDS),
)
_INBOX_PLACES: Final = (
    RetentionPlace(
        REPEATS,
        f"webhook_id IN (SELECT id FROM {WEBHOOKS} "
        f"WHERE account_id = %(account_id)s AND {_RECEIVED})",
    ),
    RetentionPlace(WEBHOOKS, _RECEIVED),
)


class OldCalls:
    """What an account holds of the time before a day.

    Args:
        connection: in autocommit mode.
        account: the source.
        first_kept: the first day that stays.
    """

    def __init__(self, connection: Connection, account: Account, first_kept: date) -> None:
        self._connection = connection
        self._zone = account.time_zone
        self._first_kept = first_kept
        self.account_id = find_account_by_name(connection, account.name)
        tables = [name for (name,) in connection.execute(_REPORT_TABLES).fetchall()]
        self._places = (
            *(
                RetentionPlace(
                    name, "callkeeper_day BETWEEN %(first)s AND %(last)s", "callkeeper_day"
                )
                for name in tables
            ),
            *PLACES,
        )

    def count(self) -> dict[str, Deleted]:
        """Count what there is, by table; nothing is changed."""
        values = self._bounds(date.min, self._first_kept - timedelta(days=1))
        places = (*self._places, *_INBOX_PLACES)
        return self._work(_COUNT, places, values)

    def delete_days(self, run_id: str) -> Iterator[tuple[int, int, dict[str, Deleted]]]:
        """Delete the days, the oldest first; yields how many are done, of how many, and what went.

        Each is a transaction, with its rows of the load log, for which the account's loads wait.
        """
        days = self._list_days()
        for done, day in enumerate(days, start=1):
            started_at = datetime.now(UTC)
            with self._transaction():
                gone = self._work(_DELETE, self._places, self._bounds(day, day))
                for table, deleted in gone.items():
                    self._log(table, day, deleted.rows, started_at, run_id)
            yield done, len(days), gone
        with self._transaction():
            self._connection.execute(_FORGET_INTERVAL, self._bounds(self._first_kept, date.max))

    def delete_payloads(self, run_id: str) -> Iterator[dict[str, Deleted]]:
        """Delete payloads of the inbox, some in each transaction; yields what went."""
        values = self._bounds(date.min, self._first_kept - timedelta(days=1))
        after = -1
        while True:
            started_at = datetime.now(UTC)
            with self._transaction():
                found = self._connection.execute(
                    _OLD_PAYLOADS, {**values, "after": after}
                ).fetchall()
                if not found:
                    return
                ids = [row[0] for row in found]
                after = ids[-1]
                gone = self._work(
                    _DELETE,
                    (
                        RetentionPlace(REPEATS, "webhook_id = ANY(%(ids)s)"),
                        RetentionPlace(WEBHOOKS, "id = ANY(%(ids)s)"),
                    ),
                    {**values, "ids": ids},
                )
                days = Counter(find_day(moment, self._zone) for _, moment in found)
                for day, rows in sorted(days.items()):
                    self._log(WEBHOOKS, day, rows, started_at, run_id)
            yield gone

    def _list_days(self) -> list[date]:
        values = self._bounds(date.min, self._first_kept - timedelta(days=1))
        days: set[date] = set()
        for place in self._places:
            if place.day is not None:
                statement = sql.SQL(
                    "SELECT DISTINCT {} FROM {} WHERE account_id = {} AND {}"
                ).format(
                    sql.SQL(place.day),
                    sql.Identifier(place.table),
                    sql.Placeholder("account_id"),
                    sql.SQL(place.condition),
                )
                days.update(row[0] for row in self._connection.execute(statement, values))
        return sorted(days.union(self._list_days_of_calls()))

    def _list_days_of_calls(self) -> Iterator[date]:
        """Yield the days on which calls lie: from each to the next, by the index of moments."""
        first = date.min
        while first < self._first_kept:
            bounds = self._bounds(first, self._first_kept - timedelta(days=1))
            row = self._connection.execute(_FIRST_CALL, bounds).fetchone()
            if not row or row[0] is None:
                return
            day = find_day(row[0], self._zone)
            yield day
            first = day + timedelta(days=1)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._connection.transaction():
            lock_transaction(self._connection, CALLS_LOCK, self.account_id)
            yield

    def _bounds(self, first: date, last: date) -> dict[str, object]:
        return {
            "account_id": self.account_id,
            "first": first,
            "last": last,
            "since": self._start_of(first),
            "until": self._start_of(last + timedelta(days=1)) if last < date.max else None,
        }

    def _start_of(self, day: date) -> datetime:
        if day == date.min:
            return datetime.min.replace(tzinfo=UTC)
        return day_start(day, self._zone)

    def _work(
        self,
        statement: LiteralString,
        places: tuple[RetentionPlace, ...],
        values: Mapping[str, object],
    ) -> dict[str, Deleted]:
        """Count, or delete, in each place; places without such rows are left out."""
        done: dict[str, Deleted] = {}
        for place in places:
            composed = sql.SQL(statement).format(
                table=sql.Identifier(place.table),
                condition=sql.SQL(f"account_id = %(account_id)s AND {place.condition}"),
            )
            row = self._connection.execute(composed, values).fetchone()
            if row and row[0]:
                done[place.table] = Deleted(*row)
        return done

    def _log(self, table: str, day: date, rows: int, started_at: datetime, run_id: str) -> None:
        self._connection.execute(_LOG, (self.account_id, table, day, rows, started_at, run_id))


def _clear_warehouse(
    connection: Connection,
    account: Account,
    retained: RetentionResult,
    run_id: str | None,
    report: OnDeleted,
) -> None:
    """Delete, as the run given, or count."""
    old = OldCalls(connection, account, retained.first_kept)
    if old.account_id is None:
        return
    if run_id is None:
        until = day_start(retained.first_kept, account.time_zone)
        retained.add_all(old.count())
        retained.add_all(count_orphans(connection, old.account_id, until, retained.first_kept))
        return
    for done, total, gone in old.delete_days(run_id):
        retained.add_all(gone)
        report(done, total)
    for gone in old.delete_payloads(run_id):
        retained.add_all(gone)
    for place, orphans in delete_orphans(connection):
        if orphans is None:
            retained.left.add(place)
        else:
            retained.add(place, orphans)
    vacuum_tables(connection, list(retained.places))


def delete_calls(
    url: str,
    account: Account,
    first_kept: date,
    store: RawStore,
    spool: Path,
    *,
    run_id: str,
    dry_run: bool,
    report: OnDeleted,
) -> RetentionResult:
    """Delete what a source has of the time before a day, or count it.

    Args:
        url: of the database, whose schema is this version's.
        account: the source; it need not be configured any more.
        first_kept: the day; `AFTER_ALL` for all that there is.
        store: where its raw calls lie.
        spool: the folder of the webhooks' spool.
        run_id: goes into the load log.
        dry_run: count, and delete nothing.
        report: called for each day that is deleted.

    Raises:
        DatabaseError: The database cannot be reached.
        WarehouseError: It went away, or refuses. As after all of these, what went is gone, and the
            next call deletes the rest.
        StoreError: The raw calls, or the spool, cannot be read or deleted.
    """
    retained = RetentionResult(first_kept)
    with connect(url, autocommit=True) as connection, explained("delete old calls", _LEFT_OFF):
        _clear_warehouse(connection, account, retained, run_id if not dry_run else None, report)
    files = store.measure_old(account.name, first_kept)
    check_locks()
    if not dry_run:
        store.delete_all(files)
    retained.add(RAW_FILES, Deleted(len(files), sum(files.values())))
    until = day_start(first_kept, account.time_zone)
    with connect(url, autocommit=True) as connection:
        since = read_moment(connection) - _LONGEST_SILENCE
        retained.silent += map(str, list_silent(connection, spool, since))
    try:
        retained.add(SPOOL, drop_old_payloads(spool, account.name, until, dry_run=dry_run))
    except OSError as error:
        raise StoreError(
            f"The webhooks' spool in {spool} cannot be cleared of old payloads: "
            f"{error.strerror or error}. Check its permissions and free space; the next retention "
            f"does the rest."
        ) from error
    return retained
