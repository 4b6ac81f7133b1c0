"""Brings the tables of calls to what a batch says: finds the difference, writes only that.

And the counts by day and table that a load reports.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

import duckdb
import pyarrow as pa

from callkeeper_assets.local_time import Segment
from callkeeper_assets.warehouse.call_sql import read_sql
from callkeeper_assets.warehouse.guard import DayBalance
from callkeeper_assets.warehouse.load_log import AccountRow
from callkeeper_assets.warehouse.records import Account, LoadedDay, Origin, RowCounts
from callkeeper_assets.warehouse.schema import ACCOUNTS, CALLS, DATES, DIMENSIONS, FACTS
from callkeeper_assets.warehouse.session import MOMENT, Session, list_column
from callkeeper_assets.warehouse.tables import TABLES
from callkeeper_assets.warehouse.transform import DayBatch, leave_out_collisions

_CALL_KEYS: Final = frozenset({"id", "account_id", "call_id", "loaded_at"})
_CALL_VALUES: Final = tuple(n for n in TABLES[CALLS].column_names if n not in _CALL_KEYS)
_FACT_VALUES: Final = tuple(
    n for n in TABLES[FACTS].column_names if n not in {"account_id", "calls_id"}
)
_RESOLVED: Final = frozenset(dimension.fact_column for dimension in DIMENSIONS)

NewRows = Mapping[str, Sequence[tuple[date, int]]]


@dataclass(frozen=True)
class Change:
    """Rows of one table and day that one action concerned."""

    day: date
    table: str
    action: str
    rows: int


def _runs(segments: Sequence[Segment]) -> list[tuple[datetime, datetime]]:
    """Return the stretches of time that the days cover, adjoining ones joined."""
    runs: list[tuple[datetime, datetime]] = []
    for segment in sorted(segments, key=lambda s: s.starts_at):
        if runs and runs[-1][1] == segment.starts_at:
            runs[-1] = (runs[-1][0], segment.ends_at)
        else:
            runs.append((segment.starts_at, segment.ends_at))
    return runs


def _existing_sql(account_id: str, condition: str) -> str:
    return read_sql("existing").format(
        calls=", ".join(f"c.{name}" for name in _CALL_VALUES),
        facts=", ".join(f"f.{name}" for name in _FACT_VALUES),
        account_id=account_id,
        condition=condition,
    )


class Merger:
    """Merges batches of one account, one after another.

    Uses the relations `frame` (the batch) and `segments` of the given DuckDB, and makes
    `held` (rows as they were read), `existing`, `days` and `plan` there.

    Webhooks' calls are merged one by one: no other call of the day is touched, and a call
    that the source itself has sent is left out of the batch.
    """

    def __init__(
        self, session: Session, duck: duckdb.DuckDBPyConnection, account_id: int, origin: Origin
    ) -> None:
        self._session = session
        self._duck = duck
        self._account_id = account_id
        self._origin = origin
        facts = {n: f"w.{n}" for n in _FACT_VALUES}
        calls = {n: f"w.{n}" for n in _CALL_VALUES} | {"origin": f"'{origin}'"}
        self._plan_sql = read_sql("plan").format(
            calls_differ=" OR ".join(f"{v} IS DISTINCT FROM e.{n}" for n, v in calls.items()),
            facts_differ=" OR ".join(f"{v} IS DISTINCT FROM e.{n}" for n, v in facts.items()),
        )
        # Where nothing is held, carrying all columns along to compare them is most of the work.
        self._first_plan_sql = read_sql("plan").format(calls_differ="false", facts_differ="false")

    def prepare(self, batch: DayBatch) -> None:
        """Read what the warehouse holds: the days' calls, and the batch's calls of other days.

        Calls that may not be merged leave the batch: those of webhooks that the source has sent,
        and those whose id another call holds.
        """
        if self._origin == "webhook":
            self._leave_to_source(batch)
        else:
            self._read_days(batch)
        self._duck.execute(read_sql("held_by_day"))

    def read_anew(self, calls: pa.Table) -> None:
        """Read some calls once more, and those that were written: all others are as they were.

        Args:
            calls: column `call_id`.
        """
        self._duck.register("asked", calls)
        concerned = self._duck.sql(
            "SELECT call_id FROM asked UNION SELECT call_id FROM plan "
            "WHERE calls_action IS NOT NULL OR facts_action IS NOT NULL"
        ).to_arrow_table()
        self._duck.register("concerned", concerned)
        others = self._duck.sql(
            "SELECT * FROM held WHERE call_id NOT IN (SELECT call_id FROM concerned)"
        ).to_arrow_table()
        self._duck.register("held", pa.concat_tables([others, self._find_calls(concerned)]))
        for name in ("asked", "concerned"):
            self._duck.unregister(name)

    def _leave_to_source(self, batch: DayBatch) -> None:
        """Leave calls that the source has sent out of the batch; read the others."""
        calls = self._duck.sql("SELECT call_id FROM frame").to_arrow_table()
        self._duck.register("told", self._find_calls(calls))
        self._duck.execute(read_sql("leave_to_source").format(frame=batch.frame))

    def _find_calls(self, calls: pa.Table) -> pa.Table:
        return self._session.query(
            _existing_sql("$1", "c.call_id = ANY($2)"),
            {"account_id": self._account_id, "call_id": calls["call_id"]},
        )

    def _read_days(self, batch: DayBatch) -> None:
        # Written out, not bound: ADBC then reads by COPY, in half the time.
        found = [
            self._session.query(
                _existing_sql(
                    str(self._account_id),
                    f"c.called_at >= '{start.isoformat()}' AND c.called_at < '{end.isoformat()}'",
                )
            )
            for start, end in _runs(batch.segments)
        ]
        self._duck.register("held", pa.concat_tables(found))
        moved = self._moved_calls()
        if moved.num_rows:
            found.append(self._find_calls(moved))
            self._duck.register("held", pa.concat_tables(found))
        if batch.has_hashed_ids:
            leave_out_collisions(self._duck, batch.frame, "collisions_with_held", batch.collisions)

    def _moved_calls(self) -> pa.Table:
        """Return ids of the batch that could lie on other days: not found, yet not all new."""
        known = self._session.query(
            "SELECT min(call_id) AS first, max(call_id) AS last FROM callkeeper_calls "
            "WHERE account_id = $1",
            {"account_id": self._account_id},
        )
        return self._duck.sql(
            "SELECT call_id FROM frame WHERE call_id BETWEEN ? AND ? "
            "AND call_id NOT IN (SELECT call_id FROM held)",
            params=[known["first"][0].as_py(), known["last"][0].as_py()],
        ).to_arrow_table()

    def weigh_days(self, days: Collection[date]) -> list[DayBalance]:
        """Count what each day had and has, for the guard."""
        had = self._session.query(
            "SELECT day, raw_calls, most_calls FROM callkeeper_days "
            "WHERE account_id = $1 AND day = ANY($2)",
            {
                "account_id": self._account_id,
                "day": list_column(sorted(days), pa.date32()),
            },
        ).to_pylist()
        had_by_day = {row["day"]: (row["raw_calls"], row["most_calls"]) for row in had}
        sent = dict(self._rows("SELECT day, count(*) FROM frame GROUP BY day"))
        lost = {day: (held, gone) for day, held, gone in self._rows(read_sql("lost"))}
        balances = []
        for day in sorted(days):
            last, most = had_by_day.get(day, (0, 0))
            held, gone = lost.get(day, (0, 0))
            balances.append(DayBalance(day, last, sent.get(day, 0), held, gone, most))
        return balances

    def note_days(self, batch: DayBatch, refused: Collection[date], account: Account) -> None:
        """Say which days are refused, and from when on calls of webhooks stay: relation `days`."""
        days = batch.days
        stay_from = [account.webhooks_stay_from(batch.fetched_at[day]) for day in days]
        table = {
            "day": pa.array(days, pa.date32()),
            "is_refused": pa.array([int(day in refused) for day in days], pa.int32()),
            "webhooks_stay_from": pa.array(stay_from, MOMENT),
        }
        self._duck.register("days", pa.table(table))

    def plan(self) -> list[Change]:
        """Find the difference, leaving the refused days out."""
        is_first = not self._rows("SELECT 1 FROM existing LIMIT 1")
        self._duck.execute(self._first_plan_sql if is_first else self._plan_sql)
        return [
            Change(day, table, action, rows)
            for table, column in ((CALLS, "calls_action"), (FACTS, "facts_action"))
            for day, action, rows in self._rows(
                f"SELECT day, {column}, count(*) FROM plan WHERE {column} IS NOT NULL "
                f"GROUP BY day, {column}"
            )
        ]

    def write(self, changes: Sequence[Change], loaded_at: datetime) -> None:
        """Write the difference. Needs the dimensions' rows, and a transaction around it."""
        todo = {(change.table, change.action) for change in changes}
        if (CALLS, "add") in todo:
            self._number_new_calls()
        for table, column, action in (
            (FACTS, "calls_id", "facts_action"),
            (CALLS, "id", "calls_action"),
        ):
            if (table, "delete") in todo:
                self._delete(table, column, action)
        for table in (CALLS, FACTS):
            if (table, "update") in todo:
                self._update(table, loaded_at)
            if (table, "add") in todo:
                self._session.copy(table, self._select(table, "add", loaded_at))

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._duck.execute(sql).fetchall()

    def _number_new_calls(self) -> None:
        """Give each new call its id, in the order of the calls."""
        count = self._rows("SELECT count(*) FROM plan WHERE calls_action = 'add'")
        ids = self._session.reserve_ids(CALLS, count[0][0])
        self._duck.register("new_ids", ids)
        self._duck.execute(read_sql("number_calls"))

    def _delete(self, table: str, column: str, action: str) -> None:
        ids = self._duck.sql(f"SELECT id FROM plan WHERE {action} = 'delete'").to_arrow_table()
        self._session.execute(
            f"DELETE FROM {table} WHERE account_id = $1 AND {column} = ANY($2)",
            {"account_id": self._account_id, "ids": ids["id"]},
        )

    def _update(self, table: str, loaded_at: datetime) -> None:
        staged = f"changed_{table}"
        key = "id" if table == CALLS else "calls_id"
        self._session.execute(f"CREATE TEMP TABLE {staged} (LIKE {table}) ON COMMIT DROP")
        self._session.copy(staged, self._select(table, "update", loaded_at), temporary=True)
        columns = [n for n in TABLES[table].column_names if n not in {"account_id", key}]
        self._session.execute(
            f"UPDATE {table} AS t SET {', '.join(f'{n} = s.{n}' for n in columns)} "
            f"FROM {staged} AS s WHERE t.account_id = s.account_id AND t.{key} = s.{key}"
        )

    def _select(self, table: str, action: str, loaded_at: datetime) -> pa.Table:
        special = {
            "id": "plan.id",
            "calls_id": "plan.id",
            "account_id": f"{self._account_id}::INTEGER",
            "origin": f"'{self._origin}'",
            "loaded_at": "$loaded_at::TIMESTAMPTZ",
        } | {name: f"plan.{name}" for name in _RESOLVED}
        columns = ", ".join(
            f"{special.get(name, f'frame.{name}')} AS {name}" for name in TABLES[table].column_names
        )
        condition = "calls_action" if table == CALLS else "facts_action"
        values: dict[str, object] = {"action": action}
        if table == CALLS:
            values["loaded_at"] = loaded_at
        rows = self._duck.sql(
            f"SELECT {columns} FROM frame JOIN plan ON plan.call_id = frame.call_id "
            f"WHERE plan.{condition} = $action",
            params=values,
        ).to_arrow_table()
        # Calls lie in their order: whoever reads some of a time finds them together. Arrow sorts
        # rows of so many columns in a quarter of DuckDB's time.
        return rows.sort_by("id" if table == CALLS else "calls_id")


def count_batch(
    duck: duckdb.DuckDBPyConnection,
    batch: DayBatch,
    tables: tuple[str, ...],
    changes: Sequence[Change],
    loaded: Collection[date],
    *,
    new_rows: NewRows,
) -> list[LoadedDay]:
    """Return what was loaded, a record a day, in order; general_accounts is still to be added.

    `new_rows` are what `DimensionRows.resolve` gave for the batch.
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
            counts={table: RowCounts.of_actions(actions) for table, actions in counts[day].items()},
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
