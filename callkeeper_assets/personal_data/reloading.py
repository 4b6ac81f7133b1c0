"""Brings the tables to what raw calls and the inbox say now, by the code that always fills them.

Days are loaded anew from their raw calls, payloads of calls that only webhooks told of are
processed again, and reports are built again. The source is asked nothing.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from callkeeper_assets.config.source import Source
from callkeeper_assets.local_time import find_day
from callkeeper_assets.personal_data.targets import Connection
from callkeeper_assets.raw.days import Day
from callkeeper_assets.raw.errors import MissingDayError, UnreadableDayError
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.reports.loading import load_reports
from callkeeper_assets.reports.outcomes import BuiltDay
from callkeeper_assets.warehouse.loader import Loader
from callkeeper_assets.warehouse.records import Guard, LoadedDay
from callkeeper_assets.webhooks.rounds import InboxRun
from callkeeper_assets.webhooks.told_calls import read_days_of_reports

_LOADED: Final = """
    SELECT day FROM callkeeper_days WHERE account_id = %(account_id)s AND day = ANY(%(days)s)
"""
_BY_WEBHOOKS: Final = """
    SELECT call_id FROM callkeeper_calls
    WHERE account_id = %(account_id)s AND origin = 'webhook' AND call_id = ANY(%(calls)s)
"""
_AGAIN: Final = """
    UPDATE callkeeper_webhooks SET state = 'new', reason = NULL, processed_at = NULL
    WHERE account_id = %(account_id)s AND state = 'processed' AND call_id = ANY(%(calls)s)
"""
_MOMENTS_OF_CALLS: Final = """
    SELECT called_at FROM callkeeper_calls
    WHERE account_id = %(account_id)s AND call_id = ANY(%(calls)s)
"""


@dataclass
class Reloaded:
    """What came of it.

    Attributes:
        days: that the tables hold anew.
        built: days of which the reports were built.
        problems: why others are not.
    """

    days: set[date] = field(default_factory=set)
    built: set[date] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reloader:
    """Reloads one source.

    Attributes:
        url: of the database.
        run_id: goes into the load log.
    """

    url: str
    connection: Connection
    store: RawStore
    source: Source
    account_id: int
    run_id: str

    def reload(self, days: Collection[date], call_ids: Collection[int]) -> Reloaded:
        """Load days anew from raw calls, and what only webhooks told of these calls.

        Args:
            days: Of which raw calls changed; those that the tables have not are left out.
            call_ids: Of which raw calls or payloads changed.

        Raises:
            WarehouseError: The database went away, or refuses.
            StoreError: The raw calls' place cannot be reached.
        """
        outcome = Reloaded()
        values = {"account_id": self.account_id, "days": sorted(days), "calls": sorted(call_ids)}
        loaded = {day for (day,) in self.connection.execute(_LOADED, values).fetchall()}
        moments = self.connection.execute(_MOMENTS_OF_CALLS, values).fetchall()
        of_calls = {find_day(moment, self.source.time_zone) for (moment,) in moments}
        with Loader(self.url) as loader:
            self._load_days(loader, sorted(loaded), outcome)
            self._process_again(loader, values, outcome)
        self._build_reports(sorted(loaded | of_calls), outcome)
        return outcome

    def _load_days(self, loader: Loader, days: list[date], outcome: Reloaded) -> None:
        results = loader.load(
            self.source.account,
            self._read_days(days, outcome),
            tables=self.source.tables,
            filters=self.source.filters,
            run_id=self.run_id,
            guard=Guard(max_lost_share=self.source.max_lost_share),
        )
        for result in results:
            if isinstance(result, LoadedDay):
                outcome.days.add(result.day)
            else:
                outcome.problems.append(result.reason)

    def _read_days(self, days: Iterable[date], outcome: Reloaded) -> Iterator[Day]:
        for day in days:
            try:
                yield self.store.read(self.source.name, day)
            except MissingDayError:
                continue
            except UnreadableDayError as error:
                outcome.problems.append(str(error))

    def _process_again(self, loader: Loader, values: dict[str, object], outcome: Reloaded) -> None:
        """Have webhooks' calls told again: nobody else tells of them."""
        if self.source.webhook is None:
            return
        found = self.connection.execute(_BY_WEBHOOKS, values).fetchall()
        if not found:
            return
        told = {**values, "calls": [call_id for (call_id,) in found]}
        self.connection.execute(_AGAIN, told)
        run = InboxRun(loader, [self.source], self.store, self.run_id)
        run.process()
        outcome.problems += [str(error) for error in run.failures.values()]

    def _build_reports(self, days: list[date], outcome: Reloaded) -> None:
        if not self.source.reports or not days:
            return
        unreadable: dict[date, str] = {}
        results = load_reports(
            self.url,
            self.source.account,
            read_days_of_reports(self.url, self.store, self.source, days, unreadable),
            reports=self.source.reports,
            configured=self.source.reports,
            run_id=self.run_id,
        )
        for result in results:
            if isinstance(result, BuiltDay):
                outcome.built.add(result.day)
            else:
                outcome.problems.append(result.reason)
