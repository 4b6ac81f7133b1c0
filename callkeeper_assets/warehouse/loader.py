"""Loads days of raw calls into the star schema: a batch of days is one transaction.

Days come one by one, from one source or several, and are grouped; each batch is transformed in
DuckDB, compared with what is stored, and only the difference is written.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Final, Self

import duckdb
import pyarrow as pa

from callkeeper_assets.local_time import split_day
from callkeeper_assets.raw.store import Day
from callkeeper_assets.warehouse.call_sql import plan_load
from callkeeper_assets.warehouse.dimension_rows import DimensionRows
from callkeeper_assets.warehouse.filters import Filter, order_selection
from callkeeper_assets.warehouse.guard import find_refusal
from callkeeper_assets.warehouse.load_log import (
    AccountRow,
    LogHead,
    find_account,
    find_account_id,
    read_newest_fetches,
    update_account,
    write_days,
    write_failure,
    write_log,
)
from callkeeper_assets.warehouse.merge import (
    Change,
    Merger,
    NewRows,
    count_batch,
    credit_account,
)
from callkeeper_assets.warehouse.migrate import allow_lack_of_facts, ensure_schema
from callkeeper_assets.warehouse.records import Account, Guard, LoadedDay, Origin, RefusedDay
from callkeeper_assets.warehouse.schema import DATES
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.warehouse.transform import DayBatch, Transformer, open_duckdb, segment_table

# Of one transaction: enough that its fixed costs vanish, few enough that two fit into memory.
_BATCH_CALLS: Final = 20_000
_BATCH_DAYS: Final = 31
# Reading a day that is there already takes a fraction of it.
_LONG_SEC: Final = 0.05

_FRAME: Final = "part_frame"

_LACKS_FACTS: Final = "SELECT lacks_facts FROM general_accounts WHERE account_id = $1"
_DEFAULT_GUARD: Final = Guard()
_NOBODY: Final = 0


def group_days(
    days: Iterable[Day], most_calls: int = _BATCH_CALLS
) -> Iterator[tuple[datetime, list[Day]]]:
    """Group days, as they come, into those of one transaction.

    Where a day was long in coming an empty group comes first: there is time for something else.

    Args:
        days: read lazily, a day ahead of the group that is yielded.
        most_calls: of one group; a day that has more is a group of its own.

    Returns:
        Each group, and when the first of its days was asked for: what is loaded after that may not
        be in them.
    """
    group: list[Day] = []
    calls, since = 0, time.monotonic()
    asked_at = group_asked_at = datetime.now(UTC)
    for day in days:
        if time.monotonic() - since > _LONG_SEC:
            yield asked_at, []
        if group and (calls + len(day) > most_calls or len(group) == _BATCH_DAYS):
            yield group_asked_at, group
            group, calls, group_asked_at = [], 0, asked_at
        group.append(day)
        calls += len(day)
        since, asked_at = time.monotonic(), datetime.now(UTC)
    if group:
        yield group_asked_at, group


@dataclass(frozen=True)
class LoadPart:
    """Calls of one source, each on one of the days."""

    account: Account
    days: Sequence[Day]


class JointBatch:
    """The calls of several parts of one time zone.

    Attributes:
        days: of all parts, each once; what is transformed.
    """

    def __init__(self, duck: duckdb.DuckDBPyConnection, parts: Sequence[LoadPart]) -> None:
        self._duck = duck
        self._parts = parts
        by_day: dict[date, list[pa.Table]] = {}
        places: list[int] = []
        ids: list[int] = []
        for place, day in _walk(parts):
            first, count = len(ids), day.calls.num_rows
            numbers = pa.array(range(first, first + count), pa.int64())
            by_day.setdefault(day.day, []).append(day.calls.set_column(0, "call_id", numbers))
            places += [place] * count
            ids += day.calls["call_id"].to_pylist()
        self.days = [Day(day, pa.concat_tables(by_day[day])) for day in sorted(by_day)]
        numbered = {
            "number": pa.array(range(len(ids)), pa.int64()),
            "place": pa.array(places, pa.int32()),
            "own_id": pa.array(ids, pa.int64()),
        }
        duck.register("numbered", pa.table(numbered))

    def show(self, joint: DayBatch) -> None:
        """Make `frame` the whole batch; a day in it is a day of a part: (place, day)."""
        self._duck.execute(
            "CREATE OR REPLACE TEMP VIEW frame AS SELECT joint.* REPLACE ((place, day) AS day) "
            f"FROM {joint.frame} AS joint JOIN numbered ON number = call_id"
        )

    def take_apart(self, joint: DayBatch) -> Iterator[DayBatch]:
        """Yield each part's batch, which must be merged before the next one is taken."""
        for place, part in enumerate(self._parts):
            self._duck.execute(
                f"CREATE OR REPLACE TABLE {_FRAME} AS SELECT joint.* REPLACE (own_id AS call_id) "
                f"FROM {joint.frame} AS joint JOIN numbered ON number = call_id WHERE place = ?",
                [place],
            )
            zone = part.account.time_zone
            yield DayBatch(
                fetched_at={day.day: day.fetched_at for day in part.days},
                frame=_FRAME,
                segments=[one for day in part.days for one in split_day(day.day, zone)],
            )


def part_counts(
    counts: Mapping[str, Iterable[tuple[tuple[int, date], int]]], places: int
) -> list[dict[str, list[tuple[date, int]]]]:
    """Take counts by table and a part's day apart, as `JointBatch.show` joined them."""
    by_place: list[dict[str, list[tuple[date, int]]]] = [{} for _ in range(places)]
    for table, rows in counts.items():
        for (place, day), count in rows:
            by_place[place].setdefault(table, []).append((day, count))
    return by_place


def _walk(parts: Sequence[LoadPart]) -> Iterator[tuple[int, Day]]:
    for place, part in enumerate(parts):
        for day in part.days:
            yield place, day


@dataclass(frozen=True)
class BatchAtCommit:
    """A batch whose transaction is about to commit.

    Attributes:
        duck: with the relations `frame` (the batch), `existing` (what the warehouse held before
            anything was written) and `days` (see `Merger.note_days`).
        merger: reads `existing` anew.
        refused: days of the batch that the guard did not let replace.
        started_at: when work on the batch began: the load log has the same moment.
    """

    session: Session
    duck: duckdb.DuckDBPyConnection
    merger: Merger
    batch: DayBatch
    account_id: int
    refused: Collection[date]
    started_at: datetime


# Does more in a batch's transaction: what it writes is there if and only if the batch is.
Within = Callable[[BatchAtCommit], None]


class _Load:
    """The database's side of one load: merges batches, one after another.

    Without `rows`, where those of dimensions would be made, it does all but the writing.
    """

    def __init__(
        self,
        session: Session,
        duck: duckdb.DuckDBPyConnection,
        account: Account,
        tables: tuple[str, ...],
        *,
        run_id: str,
        origin: Origin,
        guard: Guard | None,
        within: Within | None,
        rows: DimensionRows | None,
    ) -> None:
        self._session = session
        self._account = account
        self._tables = tables
        self._run_id = run_id
        self._origin = origin
        self._guard = guard
        self._within = within
        self._duck = duck
        self._rows = rows
        self._row = find_account(session, account) if rows else _look_for(session, account)
        self._merger = Merger(session, self._duck, self._row.account_id, origin)

    @property
    def account_id(self) -> int:
        return self._row.account_id

    def merge(self, batch: DayBatch, made: NewRows | None = None) -> list[LoadedDay | RefusedDay]:
        """Replace the batch's days, but those that the guard refuses.

        `made`: rows of dimensions that were made for the batch before, so that all are there.
        """
        head = LogHead(self._row.account_id, self._run_id, self._origin, datetime.now(UTC))
        self._duck.execute(f"CREATE OR REPLACE TEMP VIEW frame AS FROM {batch.frame}")
        self._duck.register("segments", segment_table(batch.segments))
        kept = self._rows.kept() if self._rows else nullcontext()
        with self._session.lock(self._row.account_id), kept:
            self._merger.prepare(batch)
            refused = self._find_refused(batch)
            self._merger.note_days(batch, refused, self._account)
            changes, days = self._plan(batch, refused, made)
            with self._session.transaction():
                results = self._write(head, batch, changes, days, refused)
                if self._within:
                    self._within(
                        BatchAtCommit(
                            session=self._session,
                            duck=self._duck,
                            merger=self._merger,
                            batch=batch,
                            account_id=self._row.account_id,
                            refused=refused.keys(),
                            started_at=head.started_at,
                        )
                    )
        self._duck.execute(f"DROP TABLE {batch.frame}")
        return results

    def _plan(
        self, batch: DayBatch, refused: Collection[date], made: NewRows | None
    ) -> tuple[Sequence[Change], list[LoadedDay]]:
        """Find what is to be written, and what will be said of the days; make dimensions' rows."""
        loaded = [day for day in batch.days if day not in refused]
        if self._rows is None:
            return (), [LoadedDay(day) for day in loaded]
        if made is None:
            made = self._rows.resolve(self._tables, loaded)
        changes = self._merger.plan()
        return changes, count_batch(self._duck, batch, self._tables, changes, loaded, new_rows=made)

    def _write(
        self,
        head: LogHead,
        batch: DayBatch,
        changes: Sequence[Change],
        days: list[LoadedDay],
        refused: Mapping[date, RefusedDay],
    ) -> list[LoadedDay | RefusedDay]:
        """Write the changes, what is remembered of the days, and the log; return it by day."""
        if self._rows:
            self._merger.write(changes, head.started_at)
            if days and self._origin == "api":
                days = self._note_days(days)
        results: list[LoadedDay | RefusedDay] = [*days, *refused.values()]
        results.sort(key=lambda result: result.day)
        if self._rows:
            write_log(self._session, head, results, batch.fetched_at)
        return results

    def _find_refused(self, batch: DayBatch) -> dict[date, RefusedDay]:
        """Return the days that stay as they are: outdated ones, and those that the guard refuses.

        Between a day's answer being read and its rows being locked, another run may have fetched
        and loaded a newer one. An answer that the day is made of already is no news: what it lacks
        now is due to how it is read, and the guard has nothing to say.
        """
        if self._guard is None:
            return {}
        days = [day for day, fetched_at in batch.fetched_at.items() if fetched_at]
        newest = read_newest_fetches(self._session, self._row.account_id, days) if days else {}
        outdated = {
            day: RefusedDay(day, _explain_outdated(self._account, day, at, newest_at), True)
            for day, newest_at in newest.items()
            if newest_at and (at := batch.fetched_at[day]) and at < newest_at
        }
        weighed = [
            day for day in batch.days if day not in newest or newest[day] != batch.fetched_at[day]
        ]
        refused = {
            balance.day: RefusedDay(balance.day, reason)
            for balance in self._merger.weigh_days(weighed)
            if (reason := find_refusal(self._account.name, balance, self._guard)) is not None
        }
        return refused | outdated

    def _note_days(self, days: list[LoadedDay]) -> list[LoadedDay]:
        account_id = self._row.account_id
        write_days(self._session, account_id, days, is_forced=self._guard is None)
        dates = [day.day for day in days]
        updated = update_account(self._session, account_id, self._account, min(dates), max(dates))
        credited = credit_account(days, self._row, updated)
        self._row = AccountRow(account_id, is_new=False)
        return credited


def _explain_outdated(
    account: Account, day: date, fetched_at: datetime, newest_at: datetime
) -> str:
    return (
        f"{account.name}, {day}: the raw calls were fetched at {fetched_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"the tables hold an answer of {newest_at:%Y-%m-%d %H:%M:%S} UTC. The day is left as it "
        f"was. Load it anew: `callkeeper load {account.name} --from {day} --to {day}`."
    )


def _look_for(session: Session, account: Account) -> AccountRow:
    """Return the source's row, without making one: no row has the number of one that is not."""
    return AccountRow(find_account_id(session, account) or _NOBODY, is_new=False)


class Loader:
    """Loads days of sources, one source after another, over one connection; close it after use.

    The schema must be this version's (`migrate.ensure_schema`).

    Raises:
        DatabaseError: the database cannot be reached, or is too old.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.session = Session(url)
        self._duck = open_duckdb()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._duck.close()
        self.session.close()

    def load(
        self,
        account: Account,
        days: Iterable[Day],
        *,
        tables: Collection[str],
        filters: Mapping[str, Sequence[Filter]],
        run_id: str,
        origin: Origin = "api",
        guard: Guard | None = _DEFAULT_GUARD,
        within: Within | None = None,
        writes: bool = True,
    ) -> Iterator[LoadedDay | RefusedDay]:
        """Replace days of a source in the warehouse; yield each one's outcome once it is committed.

        Days may come in any order, each once. A day that the guard refuses does not stop others.

        Args:
            account: the source.
            days: read lazily, at most two batches ahead of what is yielded.
            tables: chosen ones; rows of tables that are not chosen any more are deleted.
            filters: by table.
            run_id: goes into the load log.
            origin: of the calls. Webhooks' calls are merged one by one: the days' other calls stay
                as they are, and a call that the source itself has sent is left out.
            guard: how much of a day may vanish; None does without, as webhooks always do.
            within: is called with each batch before it commits.
            writes: whether anything is written by the load itself. If not, all but the writing is
                done, no row is made for an unknown source, and the days that are yielded say
                nothing but that the guard would let them be replaced.

        Raises:
            FilterError: a filter cannot be meant.
            BadDataError: a call lies outside its day, or is not JSON; nothing of its batch is
                stored.
            UnavailableError: the database went away; nothing of the batch is stored.
        """
        plan = plan_load(order_selection(tables), filters, account.time_zone)
        # Of a filtered dimension only what its filters let pass; webhooks load no day.
        fills = origin == "api" and not filters.get(DATES)
        load = _Load(
            self.session,
            self._duck,
            account,
            plan.tables,
            run_id=run_id,
            origin=origin,
            guard=None if origin == "webhook" else guard,
            within=within,
            rows=DimensionRows(self.session, self._duck, fills_hours=fills) if writes else None,
        )
        if plan.lacks_facts and writes:
            self._allow_lack_of_facts(load.account_id)
        transformer = Transformer(self._duck, account.time_zone, plan)
        with ThreadPoolExecutor(1, "transform") as thread:
            try:
                ahead: Future[DayBatch] | None = None
                for _, batch in group_days(days):
                    following = thread.submit(transformer.transform, batch) if batch else None
                    if ahead is not None and (following or ahead.done()):
                        yield from load.merge(ahead.result())
                        ahead = None
                    ahead = following or ahead
                if ahead is not None:
                    yield from load.merge(ahead.result())
            finally:
                thread.shutdown(cancel_futures=True)

    def _allow_lack_of_facts(self, account_id: int) -> None:
        known = self.session.query(_LACKS_FACTS, {"account_id": account_id})
        if not known["lacks_facts"][0].as_py():
            allow_lack_of_facts(self._url, account_id)

    def load_together(
        self,
        parts: Sequence[LoadPart],
        within: Callable[[int, BatchAtCommit], None],
        *,
        tables: Collection[str],
        filters: Mapping[str, Sequence[Filter]],
        run_id: str,
    ) -> Iterator[tuple[int, LoadedDay]]:
        """Merge webhooks' calls of sources that have tables, filters and time zone in common.

        As `load` with the origin `webhook`, for a fraction of its work for each source. Each
        part is a transaction; yields its place and each of its days once that is committed.
        """
        zone = parts[0].account.time_zone
        plan = plan_load(order_selection(tables), filters, zone)
        joined = JointBatch(self._duck, parts)
        batch = Transformer(self._duck, zone, plan).transform(joined.days)
        joined.show(batch)
        rows = DimensionRows(self.session, self._duck)
        with rows.kept():
            made = part_counts(rows.resolve(plan.tables), len(parts))
            for place, own in enumerate(joined.take_apart(batch)):
                load = _Load(
                    self.session,
                    self._duck,
                    parts[place].account,
                    plan.tables,
                    run_id=run_id,
                    origin="webhook",
                    guard=None,
                    within=partial(within, place),
                    rows=rows,
                )
                if plan.lacks_facts:
                    self._allow_lack_of_facts(load.account_id)
                for day in load.merge(own, made[place]):
                    if isinstance(day, LoadedDay):
                        yield place, day
        self._duck.execute(f"DROP TABLE {batch.frame}")


def log_failure(
    url: str, account: Account, days: Collection[date], run_id: str, error: str
) -> None:
    """Put a row with the error into callkeeper_loads for each day."""
    # What failed may be that the schema is newer: then nothing is written into it.
    ensure_schema(url)
    with Session(url) as session:
        row = find_account(session, account)
        head = LogHead(row.account_id, run_id, "api", datetime.now(UTC))
        write_failure(session, head, days, error)
