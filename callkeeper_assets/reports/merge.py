"""Replaces days of reports in one table: staged, compared, and only the difference is written.

All that a load has staged for a table is merged inside the caller's transaction. A key that is held
by another call, another report or a day that is not replaced stays with its holder: the staged row
becomes a reject.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import Any, Final, NamedTuple

from psycopg import sql

from callkeeper_assets.reports.definition import ReportTable
from callkeeper_assets.reports.rows import JSON_TABLE, REJECTS_TABLE, Reject, Values
from callkeeper_assets.reports.structure import (
    CALL_COLUMN,
    DAY_COLUMN,
    REPORT_COLUMN,
    SQL_TYPES,
    Connection,
)
from callkeeper_assets.warehouse.records import RowCounts
from callkeeper_assets.warehouse.tables import find_schema

# A report's day: what is replaced as a whole.
ReportPart = tuple[str, date]

_POSITION: Final = "callkeeper_position"
# Names are put in by `ReportMerger`, quoted. OFFSET 0 has each staged row looked up by key: left to
# choose, PostgreSQL reads all rows of the source, which a long load would do for each batch.
_PLAN: Final = """
    INSERT INTO {plan}
    SELECT
        s.*,
        CASE WHEN t.place IS NULL THEN 'add' WHEN t.is_held THEN 'held' ELSE 'update' END,
        t.place,
        t.call,
        t.report
    FROM {stage} AS s
    LEFT JOIN LATERAL (
        SELECT
            t.ctid AS place,
            t.{call} AS call,
            t.{report} AS report,
            ({old}) IS DISTINCT FROM ({new}) AS is_changed,
            t.{report} = ANY(%(fillers)s::text[])
                AND (t.{report}, t.{call}) IS DISTINCT FROM (s.{report}, s.{call})
                AND NOT EXISTS (
                    SELECT FROM unnest(%(reports)s::text[], %(days)s::date[]) AS p (report, day)
                    WHERE p.report = t.{report} AND p.day = t.{day}
                ) AS is_held
        FROM {table} AS t
        WHERE t.account_id = %(account_id)s AND {same_key}
        OFFSET 0
    ) AS t ON true
    WHERE t.place IS NULL OR t.is_held OR t.is_changed
"""
_COUNT: Final = """
    SELECT {report}, {day}, callkeeper_action, count(*) FROM {plan}
    WHERE callkeeper_action <> 'held'
    GROUP BY 1, 2, 3
"""
_HELD: Final = """
    SELECT {report}, {day}, {call}, {position}, callkeeper_holder_call, callkeeper_holder_report
    FROM {plan}
    WHERE callkeeper_action = 'held'
"""
_DELETE: Final = """
    WITH gone AS (
        DELETE FROM {table} AS t
        WHERE t.account_id = %(account_id)s
            AND t.{day} = ANY(%(days)s::date[]) AND t.{report} = ANY(%(reports)s::text[])
            AND (t.{report}, t.{day}) IN (
                SELECT p.report, p.day
                FROM unnest(%(reports)s::text[], %(days)s::date[]) AS p (report, day)
            )
            AND NOT EXISTS (SELECT FROM {stage} AS s WHERE {same_key})
        RETURNING t.{report} AS report, t.{day} AS day
    )
    SELECT report, day, 'delete', count(*) FROM gone GROUP BY report, day
"""
_UPDATE: Final = """
    UPDATE {table} AS t SET {settings}
    FROM {plan} AS s
    WHERE s.callkeeper_action = 'update' AND t.ctid = s.callkeeper_place
"""
_ADD: Final = """
    INSERT INTO {table} ({columns})
    SELECT {inserted} FROM {plan} AS s WHERE s.callkeeper_action = 'add'
"""
# Beside a staged row's columns: what is done with it, and which row has its key.
_PLAN_COLUMNS: Final = """
    callkeeper_action text, callkeeper_place tid, callkeeper_holder_call bigint,
    callkeeper_holder_report text
"""
_ROWS_IN_CHUNK: Final = 500
_ESCAPES: Final = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


@dataclass(frozen=True)
class MergeTarget:
    """A table that reports fill, as merging sees it.

    Attributes:
        key: beside account_id.
        columns: name -> PostgreSQL's type; of a staged row's values, in their order.
        owners: names of its columns for report, day and call.
        written: columns that get one value for all rows of a load, and are never compared.
        fillers: reports of the source whose rows hold their keys; others' rows are taken over.
    """

    table: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    owners: tuple[str, str, str] = ("report", "day", "call_id")
    written: tuple[str, ...] = ()
    fillers: frozenset[str] = frozenset()


JSON_TARGET: Final = MergeTarget(
    table=JSON_TABLE,
    key=("report", "call_id"),
    columns={"called_at": "timestamp with time zone", "data": "jsonb"},
    written=("loaded_at",),
)
REJECTS_TARGET: Final = MergeTarget(
    table=REJECTS_TABLE,
    key=("report", "day", "table_name", "call_id", "position", "column_name"),
    columns={
        "table_name": "text",
        "position": "integer",
        "column_name": "text",
        "value": "text",
        "reason": "text",
    },
    written=("run_id",),
)


def build_target(table: ReportTable, fillers: Iterable[str]) -> MergeTarget:
    """Return how rows of a user's table are merged."""
    return MergeTarget(
        table=table.name,
        key=table.key,
        columns={column.name: SQL_TYPES[column.type] for column in table.columns},
        owners=(REPORT_COLUMN, DAY_COLUMN, CALL_COLUMN),
        fillers=frozenset(fillers),
    )


class StagedRow(NamedTuple):
    """A row that waits for its merge."""

    report: str
    day: date
    call_id: int
    position: int
    values: Values


@dataclass
class Stage:
    """The rows that a batch has for one table; each key once."""

    target: MergeTarget
    rows: dict[tuple[object, ...], StagedRow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = list(self.target.columns)
        self._key = [names.index(name) for name in self.target.key if name in names]
        self._is_of_call = not set(self.target.owners[2:]).isdisjoint(self.target.key)

    def add(self, row: StagedRow) -> Reject | None:
        """Stage a row, unless another one of the batch has its key; days come in their order."""
        key: tuple[object, ...] = tuple(row.values[n] for n in self._key)
        if self._is_of_call:
            key = (row.report, row.call_id, *key)
        held = self.rows.setdefault(key, row)
        if held is row:
            return None
        is_same_call = (held.report, held.call_id) == (row.report, row.call_id)
        if is_same_call and held.day != row.day:
            # Of a call on two days the later day's counts, as in the star schema.
            self.rows[key] = row
            return None
        if is_same_call and held.values == row.values:
            return None
        return self._reject(row, held.call_id, held.report)

    def _reject(self, row: StagedRow, call_id: int, report: str) -> Reject:
        holder = f"call {call_id}" + (f" of the report {report}" if report != row.report else "")
        reason = (
            "another row of the call has its key"
            if (call_id, report) == (row.call_id, row.report)
            else f"its key is that of {holder}"
        )
        return Reject(self.target.table, row.call_id, row.position, "", None, reason)

    def drop_held(self, held: Iterable[tuple[Any, ...]]) -> Iterator[tuple[StagedRow, Reject]]:
        """Take out the rows whose key the database's rows hold, and yield each with its reject."""
        by_place = {(r.report, r.day, r.call_id, r.position): k for k, r in self.rows.items()}
        for report, day, call_id, position, holder_call, holder_report in held:
            row = self.rows.pop(by_place[report, day, call_id, position])
            yield row, self._reject(row, holder_call, holder_report)


def _names(names: Iterable[str], prefix: str = "") -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL(prefix) + sql.Identifier(name) if prefix else sql.Identifier(name) for name in names
    )


class ReportMerger:
    """Merges batches into one table, one after another, over one connection."""

    def __init__(self, connection: Connection, target: MergeTarget, number: int) -> None:
        self._connection = connection
        self._target = target
        # Temporary tables hide others of their name: no report's table begins like this.
        self._stage_name = f"callkeeper_stage_{number}"
        self._plan_name = f"callkeeper_plan_{number}"
        owned = dict(zip(target.owners, ("text", "date", "bigint"), strict=True))
        self._staged = {**owned, _POSITION: "integer"}
        self._staged |= {n: kind for n, kind in target.columns.items() if n not in self._staged}
        self._merged = [n for n in self._staged if n != _POSITION]
        self._parts = self._build_parts()
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
            for name, kind in self._staged.items()
        )
        for name, more in (("stage", ""), ("plan", f", {_PLAN_COLUMNS}")):
            connection.execute(
                sql.SQL("CREATE TEMP TABLE {} ({}{}) ON COMMIT DELETE ROWS").format(
                    self._parts[name], columns, sql.SQL(more)
                )
            )

    def _build_parts(self) -> dict[str, sql.Composable]:
        target = self._target
        report, day, call = map(sql.Identifier, target.owners)
        same_key = sql.SQL(" AND ").join(
            sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in target.key
        )
        values = [n for n in self._merged if n not in target.key]
        settings = [sql.SQL("{0} = s.{0}").format(sql.Identifier(n)) for n in values]
        settings += [
            sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in target.written
        ]
        return {
            "table": sql.Identifier(find_schema(target.table), target.table),
            "stage": sql.Identifier(self._stage_name),
            "plan": sql.Identifier(self._plan_name),
            "report": report,
            "day": day,
            "call": call,
            "position": sql.Identifier(_POSITION),
            "same_key": same_key,
            "settings": sql.SQL(", ").join(settings),
            "old": _names(values, "t."),
            "new": _names(values, "s."),
            "columns": _names(["account_id", *self._merged, *target.written]),
            "inserted": sql.SQL(", ").join(
                [
                    sql.Placeholder("account_id"),
                    *(sql.SQL("s.{}").format(sql.Identifier(n)) for n in self._merged),
                    *(sql.Placeholder(n) for n in target.written),
                ]
            ),
        }

    def stage(self, rows: Iterable[StagedRow]) -> None:
        """Bring rows to the database, into a temporary table of this transaction."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(self._stage_name), _names(self._staged)
        )
        with self._connection.cursor().copy(statement) as copy:
            # A write a row took an eighth of the load's time.
            lines = map(_format, rows)
            while chunk := "".join(islice(lines, _ROWS_IN_CHUNK)):
                copy.write(chunk)

    def find_held(self, account_id: int, parts: Sequence[ReportPart]) -> list[tuple[Any, ...]]:
        """Compare the staged rows with the table; return those whose key is held, and by whom.

        They are not written. Report, day, call and position of the row, then call and report of
        the holder.
        """
        fillers = sorted(self._target.fillers)
        self._execute(_PLAN, _bind(account_id, parts) | {"fillers": fillers})
        return self._execute(_HELD) if fillers else []

    def replace(
        self, account_id: int, parts: Sequence[ReportPart], written: Mapping[str, object]
    ) -> dict[ReportPart, RowCounts]:
        """Make the table's rows of these reports' days the staged ones; return what changed.

        What `find_held` has found out is written.
        """
        values = _bind(account_id, parts) | dict(written)
        counts: dict[ReportPart, dict[str, int]] = defaultdict(dict)
        with self._without("nestloop"):
            found = self._execute(_DELETE, values)
        found += self._execute(_COUNT)
        for report, day, action, count in found:
            counts[report, day][action] = count
        actions = {action for _, _, action, _ in found}
        if "update" in actions:
            with self._without("hashjoin", "mergejoin"):
                self._execute(_UPDATE, values)
        if "add" in actions:
            self._execute(_ADD, values)
        return {part: RowCounts.of_actions(counts[part]) for part in parts}

    @contextmanager
    def _without(self, *joins: str) -> Iterator[None]:
        """Keep PostgreSQL from joins that it takes for cheap where a table has no statistics."""
        for name in joins:
            self._connection.execute(f"SET LOCAL enable_{name} = off".encode())
        yield
        for name in joins:
            self._connection.execute(f"SET LOCAL enable_{name} = on".encode())

    def _execute(
        self, statement: str, values: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        # The text is one of this module's own; what is put in are quoted names.
        composed = sql.SQL(statement).format(**self._parts)
        cursor = self._connection.execute(composed, values, prepare=False)
        return cursor.fetchall() if cursor.description else []


def _bind(account_id: int, parts: Sequence[ReportPart]) -> dict[str, object]:
    return {
        "account_id": account_id,
        "reports": [report for report, _ in parts],
        "days": [day for _, day in parts],
    }


def _format(row: StagedRow) -> str:
    """Return the row as a line of COPY's text format."""
    head = f"{row.report}\t{row.day}\t{row.call_id}\t{row.position}"
    return "\t".join([head, *map(_escape, row.values)]) + "\n"


def _escape(value: str | None) -> str:
    if value is None:
        return "\\N"
    for character, escape in _ESCAPES:
        if character in value:
            value = value.replace(character, escape)
    return value
