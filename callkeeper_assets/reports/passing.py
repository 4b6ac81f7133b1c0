"""Which calls a report's filters let pass: the conditions of the warehouse's own tables.

The calls are transformed as for the star schema, so that a filter on `status` means the same here
as there. Reports without filters cost nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from zoneinfo import ZoneInfo

import duckdb

from callkeeper_assets.raw.days import Day
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.warehouse.call_sql import plan_load
from callkeeper_assets.warehouse.dimensions import CALLS, DATES, FACTS
from callkeeper_assets.warehouse.filters import build_condition
from callkeeper_assets.warehouse.transform import Transformer, open_duckdb

# What reports' filters may name columns of: facts, and with them calls.
FILTERED_TABLE = FACTS


class CallFilter:
    """Asks the filters of several reports of one source."""

    def __init__(
        self, duck: duckdb.DuckDBPyConnection, zone: ZoneInfo, reports: Iterable[Report]
    ) -> None:
        self._duck = duck
        self._conditions = {
            one.name: build_condition(FILTERED_TABLE, one.filters, zone)
            for one in reports
            if one.filters
        }
        filters = [each for one in reports for each in one.filters]
        # All of them, for the raw fields that they ask for; what they keep is not looked at.
        plan = plan_load((DATES, CALLS, FACTS), {FILTERED_TABLE: filters}, zone)
        self._transformer = Transformer(duck, zone, plan)

    def find_passing(self, days: Sequence[Day]) -> Mapping[str, frozenset[int]]:
        """Return, by report with filters, the ids of the days' calls that pass.

        Raises:
            BadDataError: a call lies outside its day, or is not JSON.
        """
        if not self._conditions:
            return {}
        frame = self._transformer.transform(days).frame
        passing = {}
        for name, condition in self._conditions.items():
            found = self._duck.execute(
                f"SELECT call_id FROM {frame} WHERE {condition.sql}",  # noqa: S608 -- see filters
                list(condition.values),
            )
            passing[name] = frozenset(row[0] for row in found.fetchall())
        self._duck.execute(f"DROP TABLE {frame}")
        return passing


@contextmanager
def open_filter(zone: ZoneInfo, reports: Sequence[Report]) -> Iterator[CallFilter]:
    """Open the filters of reports, with a DuckDB of their own."""
    with open_duckdb() as duck:
        yield CallFilter(duck, zone, reports)
