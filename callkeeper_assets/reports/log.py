"""What is remembered of reports: days built and from which definition, fields met, loads logged.

Written in the transaction that replaces the days, so that the log says what happened.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import psycopg

from callkeeper_assets.reports.definition import Report
from callkeeper_assets.reports.outcomes import RefusedReport
from callkeeper_assets.warehouse.load_log import LogHead, LogRow, insert_rows
from callkeeper_assets.warehouse.records import RowCounts

_FRESH = """
    SELECT r.report
    FROM unnest(%(reports)s::text[]) AS r (report)
    WHERE NOT EXISTS (
        SELECT FROM callkeeper_report_days AS d
        WHERE d.account_id = %(account_id)s AND d.report = r.report
    )
"""
_FIELDS = """
    SELECT report, field, day FROM callkeeper_report_fields
    WHERE account_id = %(account_id)s AND report = ANY(%(reports)s)
"""
_WRITE_FIELDS = """
    INSERT INTO callkeeper_report_fields (account_id, report, field, day)
    SELECT %(account_id)s, * FROM unnest(%(reports)s::text[], %(fields)s::text[], %(days)s::date[])
    ON CONFLICT (account_id, report, field) DO NOTHING
"""
_WRITE_DAYS = """
    INSERT INTO callkeeper_report_days (account_id, report, day, definition, calls, built_at)
    SELECT %(account_id)s, *, %(built_at)s
    FROM unnest(%(reports)s::text[], %(days)s::date[], %(definitions)s::text[], %(calls)s::int[])
    ON CONFLICT (account_id, report, day) DO UPDATE
    SET definition = excluded.definition, calls = excluded.calls, built_at = excluded.built_at
"""
# An index cannot hold longer ones.
_MOST_LETTERS_OF_FIELD: Final = 400

ReportPart = tuple[str, date]


class ReportLog:
    """The log of one source's reports, for one load."""

    def __init__(
        self, connection: psycopg.Connection[Any], account_id: int, reports: Sequence[Report]
    ) -> None:
        self._connection = connection
        self._account_id = account_id
        self._digests = {report.name: report.digest for report in reports}
        values = {"account_id": account_id, "reports": list(self._digests)}
        # Nothing is new on the first day that a report is ever built for: it makes the list.
        self._fresh = {name for (name,) in connection.execute(_FRESH, values)}
        self._fields: dict[str, dict[str, date | None]] = {name: {} for name in self._digests}
        for report, name, day in connection.execute(_FIELDS, values):
            self._fields[report][name] = day
        self._met: list[tuple[str, str, date | None]] = []

    def find_new_fields(
        self, report: Report, day: date, undocumented: Collection[str]
    ) -> tuple[str, ...]:
        """Return the fields that no other day loaded before had, and remember them.

        A report that fails for them does not: they stay new until somebody accepts them.
        """
        known = self._fields[report.name]
        names = sorted({name[:_MOST_LETTERS_OF_FIELD] for name in undocumented})
        new = tuple(name for name in names if known.get(name, day) == day)
        if report.name in self._fresh:
            self._fresh.discard(report.name)
            self._remember(report.name, new, None)
            return ()
        if report.on_new_field != "fail":
            self._remember(report.name, new, day)
        return () if report.on_new_field == "ignore" else new

    def _remember(self, report: str, names: Collection[str], day: date | None) -> None:
        known = self._fields[report]
        self._met += [(report, name, day) for name in names if name not in known]
        known.update((name, day) for name in names if name not in known)

    def write_fields(self) -> None:
        """Write the fields met since the last writing."""
        reports, fields, days = zip(*self._met, strict=True) if self._met else ((), (), ())
        self._met = []
        self._connection.execute(
            _WRITE_FIELDS,
            {
                "account_id": self._account_id,
                "reports": list(reports),
                "fields": list(fields),
                "days": list(days),
            },
        )

    def write_days(self, calls: Mapping[ReportPart, int], built_at: datetime) -> None:
        """Note that reports' days are built, and from how many calls."""
        self._connection.execute(
            _WRITE_DAYS,
            {
                "account_id": self._account_id,
                "reports": [report for report, _ in calls],
                "days": [day for _, day in calls],
                "definitions": [self._digests[report] for report, _ in calls],
                "calls": list(calls.values()),
                "built_at": built_at,
            },
        )

    def write_log(
        self,
        counts: Mapping[ReportPart, Mapping[str, RowCounts]],
        run_id: str,
        started_at: datetime,
    ) -> None:
        """Log what was done to each table of each report's day."""
        rows = [
            LogRow(table, day, of_table, report=report)
            for (report, day), tables in counts.items()
            for table, of_table in tables.items()
        ]
        insert_rows(self._connection, self._head(run_id, started_at), rows)

    def write_refusals(
        self,
        refused: Collection[RefusedReport],
        run_id: str,
        started_at: datetime,
        day: date | None = None,
    ) -> None:
        """Log why reports were not built; what is refused for any day is logged under `day`."""
        rows = [
            LogRow(None, one.day or day, error=one.reason, report=one.report) for one in refused
        ]
        insert_rows(self._connection, self._head(run_id, started_at), rows)

    def _head(self, run_id: str, started_at: datetime) -> LogHead:
        return LogHead(self._account_id, run_id, "api", started_at)
