"""Reconciles days of a source: compares, logs what differs, loads it anew, compares again.

The log is callkeeper_discrepancies: one row for each discrepancy that is open, however often seen.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

import duckdb
import pyarrow as pa

from callkeeper_assets.raw.store import Day
from callkeeper_assets.reconcile.discrepancies import (
    CALL_ID,
    NUMBERS,
    ComparedDay,
    Discrepancy,
    Mode,
)
from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.load_log import find_account
from callkeeper_assets.warehouse.loader import BatchAtCommit, Loader
from callkeeper_assets.warehouse.records import Account, Guard, RefusedDay
from callkeeper_assets.warehouse.session import Parameters, Session

_COMPARE: Final = read_sql("compare").format(
    numbers=", ".join(
        f"s.{name} AS source_{name}, w.{name} AS warehouse_{name}" for name in NUMBERS
    )
)
_MISSING: Final = f"""
    SELECT day, call_id, '{CALL_ID}' AS parameter, standing AS kind,
        CASE WHEN standing = 'missing_in_source' THEN call_id::VARCHAR END AS warehouse_value,
        CASE WHEN standing = 'missing_in_warehouse' THEN call_id::VARCHAR END AS source_value
    FROM compared
    WHERE standing IN ('missing_in_warehouse', 'missing_in_source')
"""
_DIFFERING: Final = (
    f"""
    SELECT day, call_id, '{name}', 'differs',
        warehouse_{name}::VARCHAR, source_{name}::VARCHAR
    FROM compared
    WHERE standing = 'in_both' AND source_{name} IS DISTINCT FROM warehouse_{name}
    """
    for name in NUMBERS
)
_FIND: Final = " UNION ALL ".join((_MISSING, *_DIFFERING))
_COUNT: Final = """
    SELECT day,
        count(*) FILTER (WHERE standing NOT IN ('filtered', 'waiting', 'non_final')),
        count(*) FILTER (WHERE standing = 'non_final'),
        count(*) FILTER (WHERE standing = 'waiting')
    FROM compared GROUP BY day
"""
# Found before healing, or only after it; left is what the second comparison still finds.
_MARK_HEALED: Final = """
    SELECT
        coalesce(l.day, f.day) AS day,
        coalesce(l.call_id, f.call_id) AS call_id,
        coalesce(l.parameter, f.parameter) AS parameter,
        coalesce(f.kind, l.kind) AS kind,
        CASE WHEN f.kind IS NULL THEN l.warehouse_value ELSE f.warehouse_value END
            AS warehouse_value,
        CASE WHEN f.kind IS NULL THEN l.source_value ELSE f.source_value END AS source_value,
        (l.kind IS NULL)::INTEGER AS is_healed
    FROM found AS f
    FULL JOIN remaining AS l
        ON l.day = f.day AND l.call_id = f.call_id AND l.parameter = f.parameter
    ORDER BY ALL
"""

_COLUMNS: Final = (
    "day",
    "call_id",
    "parameter",
    "kind",
    "warehouse_value",
    "source_value",
    "is_healed",
)
_NOTE_DAYS: Final = """
    UPDATE callkeeper_days SET reconciled_at = $1 WHERE account_id = $2 AND day = ANY($3)
"""


@dataclass(frozen=True)
class Counts:
    """Calls of one day, by how they stand: compared, not final, waiting for the source."""

    calls: int
    non_final: int
    waiting: int


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        discrepancies: columns day, call_id, parameter, kind, warehouse_value, source_value.
        counts: by day; days without a call on either side are left out.
    """

    discrepancies: pa.Table
    counts: dict[date, Counts]


def compare(duck: duckdb.DuckDBPyConnection, settled_before: date) -> Comparison:
    """Compare the relations `frame` and `existing` of a DuckDB, which has `days` as well.

    Makes the relation `compared` there. Calls that are not final are compared on days before
    `settled_before`: nobody waits for them any more.
    """
    duck.execute(_COMPARE, {"settled_before": settled_before})
    found = duck.sql(_FIND).to_arrow_table()
    counts = {day: Counts(*numbers) for day, *numbers in duck.execute(_COUNT).fetchall()}
    return Comparison(found, counts)


def mark_healed(
    duck: duckdb.DuckDBPyConnection, found: pa.Table, remaining: pa.Table | None
) -> pa.Table:
    """Add to each discrepancy whether it is healed, in the column `is_healed`, 1 or 0.

    Args:
        duck: any.
        found: of the first comparison.
        remaining: of the one after healing; None if nothing was healed.
    """
    duck.register("found", found)
    duck.register("remaining", found if remaining is None else remaining)
    marked = duck.sql(_MARK_HEALED).to_arrow_table()
    for name in ("found", "remaining"):
        duck.unregister(name)
    return marked


@dataclass(frozen=True)
class DiscrepancyLog:
    """The log as one run of a source writes and reads it, inside a transaction of the session."""

    session: Session
    account_id: int
    run_id: str

    def write(
        self, days: Sequence[date], found: pa.Table, *, found_at: datetime, healed_at: datetime
    ) -> None:
        """Bring the log to what was found, and note when the days were compared.

        Needs the source's lock around it.

        Args:
            days: all that were compared.
            found: as `mark_healed` returns it.
            found_at: the moment of the comparison.
            healed_at: the moment of the one after healing.
        """
        self.session.execute(
            read_sql("log_discrepancies"),
            {
                **self._scope(days),
                "healed_at": healed_at,
                "found_at": found_at,
                **{name: found[name] for name in _COLUMNS},
            },
        )
        self.session.execute(
            _NOTE_DAYS,
            {
                "at": healed_at,
                "account_id": self.account_id,
                "days": days,
            },
        )

    def read(self, days: Sequence[date]) -> pa.Table:
        """Read what the run has to report of the days: what it found or healed, and what is open.

        From the log, not from the comparison: a step that Dagster runs again reports its first
        try too.
        """
        return self.session.query(read_sql("run_discrepancies"), self._scope(days))

    def _scope(self, days: Sequence[date]) -> Parameters:
        return {
            "account_id": self.account_id,
            "run_id": self.run_id,
            "days": days,
        }


_NO_CALLS: Final = Counts(0, 0, 0)


@dataclass(frozen=True)
class _Reconciliation:
    """One run's comparisons: the same for a batch that is healed and for one that is not."""

    run_id: str
    mode: Mode
    settled_before: date

    def inspect(self, batch: BatchAtCommit) -> list[ComparedDay]:
        """Compare a batch, again after healing, and log what differs."""
        found = compare(batch.duck, self.settled_before)
        remaining = None
        if self.mode == "heal" and found.discrepancies.num_rows:
            batch.merger.read_anew(found.discrepancies.select(["call_id"]))
            remaining = compare(batch.duck, self.settled_before).discrepancies
        marked = mark_healed(batch.duck, found.discrepancies, remaining)
        days = [day for day in batch.batch.days if day not in batch.refused]
        if self.mode != "dry_run" and days:
            log = DiscrepancyLog(batch.session, batch.account_id, self.run_id)
            log.write(days, marked, found_at=batch.started_at, healed_at=datetime.now(UTC))
            marked = log.read(days)
        return _build_compared_days(days, found, marked)


def _build_compared_days(
    days: Sequence[date], comparison: Comparison, discrepancies: pa.Table
) -> list[ComparedDay]:
    by_day: dict[date, list[Discrepancy]] = {day: [] for day in days}
    for row in discrepancies.to_pylist():
        by_day[row["day"]].append(Discrepancy(**{**row, "is_healed": bool(row["is_healed"])}))
    compared = []
    for day, found in by_day.items():
        counts = comparison.counts.get(day, _NO_CALLS)
        compared.append(
            ComparedDay(day, counts.calls, counts.non_final, counts.waiting, tuple(found))
        )
    return compared


def reconcile_days(
    url: str,
    account: Account,
    days: Iterable[Day],
    *,
    tables: Collection[str],
    filters: Mapping[str, Sequence[Filter]],
    run_id: str,
    mode: Mode,
    guard: Guard | None,
    settled_before: date = date.min,
) -> Iterator[ComparedDay | RefusedDay]:
    """Reconcile days with what the source sends; yields each once it is committed.

    Args:
        url: of the database, whose schema is this version's.
        account: the source.
        days: as just fetched; read lazily, each once.
        tables: chosen ones, callkeeper_calls among them; without callkeeper_calls_facts only the
            calls' ids are compared.
        filters: by table; what they leave out is compared on neither side.
        run_id: goes into the logs.
        mode: whether to heal, to log only, or to change nothing at all.
        guard: how much of a day may vanish; None does without.
        settled_before: on days before it, calls that are not final are compared as well.

    Raises:
        WarehouseError: as `Loader.load`; nothing of the batch is stored.
        DatabaseError: the database cannot be reached, or is too old.
    """
    reconciliation = _Reconciliation(run_id, mode, settled_before)
    compared: dict[date, ComparedDay] = {}
    with Loader(url) as loader:
        if mode == "log":
            find_account(loader.session, account)  # the log's rows refer to its row
        for result in loader.load(
            account,
            days,
            tables=tables,
            filters=filters,
            run_id=run_id,
            guard=guard,
            within=lambda batch: compared.update(
                (day.day, day) for day in reconciliation.inspect(batch)
            ),
            writes=mode == "heal",
        ):
            if isinstance(result, RefusedDay):
                yield result
            else:
                loaded = result if mode == "heal" else None
                yield replace(compared.pop(result.day), loaded=loaded)
