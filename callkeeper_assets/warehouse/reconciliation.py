"""Reconciles days of a source: compares, logs what differs, heals it by the loader, compares again.

A batch of days is one transaction of the loader's: its log, its healing and the second comparison
commit together, so that a kill leaves no discrepancy twice. Memory holds two batches, however long
the period. A day whose answer the guard refuses is no truth to compare with: it is left alone, in
the log as well. Without healing it is the same load, but for the writing; in mode `note` the log is
written all the same.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

import pyarrow as pa

from callkeeper_assets.raw.days import Day
from callkeeper_assets.warehouse.account_row import find_account
from callkeeper_assets.warehouse.comparison import Comparison, Counts, compare, judge
from callkeeper_assets.warehouse.discrepancies import ComparedDay, Discrepancy, Mode
from callkeeper_assets.warehouse.discrepancy_log import DiscrepancyLog
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.loader import BatchAtCommit, Loader
from callkeeper_assets.warehouse.records import Account, Guard, RefusedDay

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
        judged = judge(batch.duck, found.discrepancies, remaining)
        days = [day for day in batch.batch.days if day not in batch.refused]
        if self.mode != "look" and days:
            log = DiscrepancyLog(batch.session, batch.account_id, self.run_id)
            log.write(days, judged, found_at=batch.started_at, healed_at=datetime.now(UTC))
            judged = log.read(days)
        return _tell_days(days, found, judged)


def _tell_days(
    days: Sequence[date], comparison: Comparison, discrepancies: pa.Table
) -> list[ComparedDay]:
    by_day: dict[date, list[Discrepancy]] = {day: [] for day in days}
    for row in discrepancies.to_pylist():
        by_day[row["day"]].append(Discrepancy(**{**row, "is_healed": bool(row["is_healed"])}))
    told = []
    for day, found in by_day.items():
        counts = comparison.counts.get(day, _NO_CALLS)
        told.append(ComparedDay(day, counts.calls, counts.non_final, counts.waiting, tuple(found)))
    return told


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
        if mode == "note":
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
