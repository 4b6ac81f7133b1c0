"""Reconciles days of a source: compares, logs what differs, heals it by the loader, compares again.

A batch of days is one transaction of the loader's: its log, its healing and the second comparison
commit together, so that a kill leaves no discrepancy twice. Memory holds two batches, however long
the period. A day whose answer the guard refuses is no truth to compare with: it is left alone, in
the log as well. Without healing the same comparison is made of the same rows, and nothing written
but, in mode `note`, the log.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

import pyarrow as pa

from callkeeper_assets.warehouse.account_row import find_account, find_account_id
from callkeeper_assets.warehouse.batches import group_days
from callkeeper_assets.warehouse.call_sql import Plan, plan_load
from callkeeper_assets.warehouse.comparison import Comparison, Counts, compare, judge
from callkeeper_assets.warehouse.discrepancies import ComparedDay, Discrepancy, Mode
from callkeeper_assets.warehouse.discrepancy_log import DiscrepancyLog
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.loader import BatchAtCommit, find_refused, load_days
from callkeeper_assets.warehouse.merge import Merger
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import Account, Guard, RawDay, RefusedDay
from callkeeper_assets.warehouse.selection import check_selection
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.warehouse.transform import Transformer, open_duckdb, segment_table

# Of a source that the warehouse does not know, and that is only looked at: no row has it.
_NOBODY: Final = 0
_NO_CALLS: Final = Counts(0, 0, 0)


@dataclass(frozen=True)
class _Reconciliation:
    """One run's comparisons: the same for a batch that is healed and for one that is not."""

    run_id: str
    mode: Mode
    guard: Guard | None
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
    days: Iterable[RawDay],
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
        url: of the database.
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
        WarehouseError: as `load_days`; nothing of the batch is stored.
        DatabaseError: as `load_days`.
    """
    reconciliation = _Reconciliation(run_id, mode, guard, settled_before)
    if mode != "heal":
        plan = plan_load(check_selection(tables), filters, account.time_zone)
        yield from _compare_only(url, account, days, plan, reconciliation)
        return
    compared: dict[date, ComparedDay] = {}
    for result in load_days(
        url,
        account,
        days,
        tables=tables,
        filters=filters,
        run_id=run_id,
        force=guard is None,
        guard=guard or Guard(),
        within=lambda batch: compared.update(
            (day.day, day) for day in reconciliation.inspect(batch)
        ),
    ):
        if isinstance(result, RefusedDay):
            yield result
        else:
            yield replace(compared.pop(result.day), loaded=result)


def _compare_only(
    url: str,
    account: Account,
    days: Iterable[RawDay],
    plan: Plan,
    reconciliation: _Reconciliation,
) -> Iterator[ComparedDay | RefusedDay]:
    ensure_schema(url)
    with Session(url) as session, open_duckdb() as duck:
        if reconciliation.mode == "look":
            account_id = find_account_id(session, account) or _NOBODY
        else:
            account_id = find_account(session, account).account_id
        transformer = Transformer(duck, account.time_zone, plan)
        merger = Merger(session, duck, account_id, "api")
        for raw in filter(None, group_days(days)):
            batch = transformer.transform(raw)
            duck.execute(f"CREATE OR REPLACE TEMP VIEW frame AS FROM {batch.frame}")
            duck.register("segments", segment_table(batch.segments))
            with session.lock(account_id), session.transaction():
                started_at = datetime.now(UTC)
                merger.read_existing(batch)
                refused = find_refused(merger, account, batch.days, reconciliation.guard)
                merger.note_days(batch, refused)
                told = reconciliation.inspect(
                    BatchAtCommit(
                        session, duck, merger, batch, account_id, refused.keys(), started_at
                    )
                )
            duck.execute(f"DROP TABLE {batch.frame}")
            results: list[ComparedDay | RefusedDay] = [*told, *refused.values()]
            yield from sorted(results, key=lambda result: result.day)
