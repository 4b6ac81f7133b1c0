"""Replaces days of reports in one table: staged, compared, and only the difference is written.

All that a load has staged for a table is merged by three statements inside the caller's
transaction. A key that is held by another call, another report or a day that is not replaced stays
with its holder: the staged row becomes a reject.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from psycopg import sql

from callkeeper_assets.reports.definition import ReportTable
from callkeeper_assets.reports.rows import JSON_TABLE, Reject, Values
from callkeeper_assets.reports.structure import (
    CALL_COLUMN,
    DAY_COLUMN,
    REPORT_COLUMN,
    SQL_TYPES,
    Connection,
)
from callkeeper_assets.warehouse.records import RowCounts

# A report's day: what is replaced as a whole.
Part = tuple[str, date]

_POSITION: Final = "callkeeper_position"
_COUNT: Final = "SELECT report, day, count(*) FROM done GROUP BY report, day"
_ESCAPES: Final = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


@dataclass(frozen=True)
class Target:
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


JSON_TARGET: Final = Target(
    table=JSON_TABLE,
    key=("report", "call_id"),
    columns={"called_at": "timestamp with time zone", "data": "jsonb"},
    written=("loaded_at",),
)
REJECTS_TARGET: Final = Target(
    table="callkeeper_rejects",
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


def build_target(table: ReportTable, fillers: Iterable[str]) -> Target:
    """Return how rows of a user's table are merged."""
    return Target(
        table=table.name,
        key=table.key,
        columns={column.name: SQL_TYPES[column.type] for column in table.columns},
        owners=(REPORT_COLUMN, DAY_COLUMN, CALL_COLUMN),
        fillers=frozenset(fillers),
    )


@dataclass(frozen=True)
class StagedRow:
    """A row that waits for its merge."""

    report: str
    day: date
    call_id: int
    position: int
    values: Values


@dataclass
class Stage:
    """The rows that a batch has for one table; each key once."""

    target: Target
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


class Merger:
    """Merges batches into one table, one after another, over one connection."""

    def __init__(self, connection: Connection, schema: str, target: Target, number: int) -> None:
        self._connection = connection
        self._target = target
        # Temporary tables hide others of their name: no report's table begins like this.
        self._stage_name = f"callkeeper_stage_{number}"
        owned = dict(zip(target.owners, ("text", "date", "bigint"), strict=True))
        self._staged = {**owned, _POSITION: "integer"}
        self._staged |= {n: kind for n, kind in target.columns.items() if n not in self._staged}
        self._merged = [n for n in self._staged if n != _POSITION]
        self._parts = self._build_parts(schema)
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
            for name, kind in self._staged.items()
        )
        connection.execute(
            sql.SQL("CREATE TEMP TABLE {stage} ({columns}) ON COMMIT DELETE ROWS").format(
                stage=sql.Identifier(self._stage_name), columns=columns
            )
        )

    def _build_parts(self, schema: str) -> dict[str, sql.Composable]:
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
            "table": sql.Identifier(schema, target.table),
            "stage": sql.Identifier(self._stage_name),
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
            for row in rows:
                copy.write(_format(row))
        # Just filled, it has no statistics, and a plan without them can take very long.
        self._execute("ANALYZE {stage}", {})

    def find_held(self, account_id: int, parts: Sequence[Part]) -> list[tuple[Any, ...]]:
        """Take out of the stage the rows whose key is held, and return their places and holders."""
        return self._execute(
            """
            DELETE FROM {stage} AS s USING {table} AS t
            WHERE t.account_id = %(account_id)s AND {same_key}
                AND t.{report} = ANY(%(fillers)s)
                AND (t.{report}, t.{call}) IS DISTINCT FROM (s.{report}, s.{call})
                AND NOT EXISTS (
                    SELECT FROM unnest(%(reports)s::text[], %(days)s::date[]) AS p (report, day)
                    WHERE p.report = t.{report} AND p.day = t.{day}
                )
            RETURNING s.{report}, s.{day}, s.{call}, s.{position}, t.{call}, t.{report}
            """,
            _bind(account_id, parts) | {"fillers": sorted(self._target.fillers)},
        )

    def replace(
        self, account_id: int, parts: Sequence[Part], written: Mapping[str, object]
    ) -> dict[Part, RowCounts]:
        """Make the table's rows of these reports' days the staged ones; return what changed."""
        values = _bind(account_id, parts) | dict(written)
        deleted = self._count(
            """
            DELETE FROM {table} AS t
            USING unnest(%(reports)s::text[], %(days)s::date[]) AS p (report, day)
            WHERE t.account_id = %(account_id)s AND t.{report} = p.report AND t.{day} = p.day
                AND NOT EXISTS (SELECT FROM {stage} AS s WHERE {same_key})
            RETURNING t.{report} AS report, t.{day} AS day
            """,
            values,
        )
        updated = self._count(
            """
            UPDATE {table} AS t SET {settings}
            FROM {stage} AS s
            WHERE t.account_id = %(account_id)s AND {same_key}
                AND ({old}) IS DISTINCT FROM ({new})
            RETURNING s.{report} AS report, s.{day} AS day
            """,
            values,
        )
        added = self._count(
            """
            INSERT INTO {table} AS t ({columns})
            SELECT {inserted} FROM {stage} AS s
            WHERE NOT EXISTS (
                SELECT FROM {table} AS t WHERE t.account_id = %(account_id)s AND {same_key}
            )
            RETURNING t.{report} AS report, t.{day} AS day
            """,
            values,
        )
        return {
            part: RowCounts(added.get(part, 0), updated.get(part, 0), deleted.get(part, 0))
            for part in parts
        }

    def _count(self, statement: str, values: Mapping[str, object]) -> dict[Part, int]:
        counted = f"WITH done AS ({statement}) {_COUNT}"
        found: dict[Part, int] = defaultdict(int)
        for report, day, count in self._execute(counted, values):
            found[report, day] = count
        return found

    def _execute(self, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        # The text is one of this class's own; what is put in are quoted names.
        composed = sql.SQL(statement).format(**self._parts)
        cursor = self._connection.execute(composed, values, prepare=False)
        return cursor.fetchall() if cursor.description else []


def _bind(account_id: int, parts: Sequence[Part]) -> dict[str, object]:
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
