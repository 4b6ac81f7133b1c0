"""Counts a merged batch by day and table: what `LoadedDay` reports.

A dimension's new row counts for the first day that needed it.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import duckdb

from callkeeper_assets.warehouse.account_row import AccountRow
from callkeeper_assets.warehouse.dimensions import ACCOUNTS, CALLS, DATES, DIMENSIONS, FACTS
from callkeeper_assets.warehouse.merge import Change
from callkeeper_assets.warehouse.records import LoadedDay, RowCounts
from callkeeper_assets.warehouse.transform import Batch

NewRows = Mapping[str, Sequence[tuple[date, int]]]


def count_batch(
    duck: duckdb.DuckDBPyConnection,
    batch: Batch,
    tables: tuple[str, ...],
    changes: Sequence[Change],
    loaded: Collection[date],
    *,
    new_rows: NewRows,
) -> list[LoadedDay]:
    """Return what was loaded, a record a day, in order; general_accounts is still to be added.

    `new_rows` are what `count_new_rows` gave for the batch.
    """
    rows: dict[date, dict[str, int]] = defaultdict(dict)
    counts: dict[date, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    raw: dict[date, tuple[int, int]] = {}
    used = ", ".join(_used_rows(table) for table in tables if table != ACCOUNTS)
    for day, calls, non_final, *by_table in duck.execute(
        "SELECT day, count(*), count(*) FILTER (WHERE NOT is_final)"
        f"{', ' if used else ''}{used} FROM frame GROUP BY day"
    ).fetchall():
        raw[day] = (calls, non_final)
        names = [table for table in tables if table != ACCOUNTS]
        rows[day].update(zip(names, by_table, strict=True))
    for day in loaded:
        for table in tables:
            counts[day].setdefault(table, {})
    for change in changes:
        counts[change.day][change.table][change.action] = change.rows
    for table, added in new_rows.items():
        for day, number in added:
            counts[day][table]["add"] = number
    unconfirmed = _count_unconfirmed(duck)
    return [
        LoadedDay(
            day=day,
            raw_calls=raw.get(day, (0, 0))[0],
            rows={t: 1 if t == ACCOUNTS else rows[day].get(t, 0) for t in tables},
            counts={
                table: RowCounts(
                    actions.get("add", 0), actions.get("update", 0), actions.get("delete", 0)
                )
                for table, actions in counts[day].items()
            },
            non_final=raw.get(day, (0, 0))[1],
            unknown_fields=batch.unknown_fields.get(day, ()),
            unconfirmed=unconfirmed.get(day, {}),
            unusable_values=batch.unusable_values.get(day, {}),
            collisions=batch.collisions.get(day, ()),
        )
        for day in batch.days
        if day in loaded
    ]


def credit_account(days: Sequence[LoadedDay], account: AccountRow, updated: int) -> list[LoadedDay]:
    """Add what became of general_accounts' row to the first day."""
    if not days:
        return []
    count = RowCounts(added=1) if account.is_new else RowCounts(updated=updated)
    credited = replace(days[0], counts={**days[0].counts, ACCOUNTS: count})
    return [credited, *days[1:]]


def _used_rows(table: str) -> str:
    """Return the expression for the table's rows that a day's calls have or point to."""
    if table == CALLS:
        return "count(*) FILTER (WHERE keep_calls)"
    if table == FACTS:
        return "count(*) FILTER (WHERE keep_facts)"
    if table == DATES:
        return "count(DISTINCT dates_id) FILTER (WHERE dates_id <> 1)"
    key = next(dimension.key for dimension in DIMENSIONS if dimension.table == table)
    return f"count(DISTINCT {key})"


def _count_unconfirmed(duck: duckdb.DuckDBPyConnection) -> dict[date, dict[str, int]]:
    rows = duck.execute(
        "SELECT day, count(*), count(*) FILTER (WHERE has_facts) FROM plan WHERE is_unconfirmed "
        "GROUP BY day"
    ).fetchall()
    return {day: {CALLS: calls, FACTS: facts} for day, calls, facts in rows}


def count_new_rows(
    duck: duckdb.DuckDBPyConnection, tables: tuple[str, ...]
) -> dict[str, list[tuple[Any, int]]]:
    """Return how many rows of each dimension were made for each day of `frame`."""
    known = [(DATES, "known_dates", "dates_id", "id")] if DATES in tables else []
    known += [(d.table, f"known_{d.short}", d.key, "key") for d in DIMENSIONS if d.table in tables]
    found: dict[str, list[tuple[Any, int]]] = {}
    if not known:
        return found
    # One statement: planning one for each table takes longer than the few rows of a webhook.
    counts = " UNION ALL ".join(
        f"(SELECT '{table}', day, count(*) FROM (SELECT min(frame.day) AS day FROM frame "
        f"JOIN {relation} AS known ON known.{key} = frame.{column} AND known.is_new "
        f"GROUP BY frame.{column}) GROUP BY day)"
        for table, relation, column, key in known
    )
    for table, day, count in duck.execute(counts).fetchall():
        found.setdefault(table, []).append((day, count))
    return found
