"""Calls of a day that only webhooks have told of so far, for who builds from raw calls.

As processing decides it: not what the source shows, nor what it could have shown long ago and has
not. Here nothing is written: the calls are read from the inbox beside the day's raw calls.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final

from callkeeper_assets.config.source import Source
from callkeeper_assets.local_time import day_start
from callkeeper_assets.raw.days import Day, build_table
from callkeeper_assets.raw.errors import MissingDayError, UnreadableDayError
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.account_row import find_account_id
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.forgotten_told import read_forgotten_told
from callkeeper_assets.webhooks.inbox_rows import Row, read_received
from callkeeper_assets.webhooks.last_words import Told, group_by_call, read_told
from callkeeper_assets.webhooks.raw_call import RawCall, UnusablePayloadError

# A webhook does not come before its call, but clocks differ.
_EARLIEST: Final = timedelta(hours=1)


def add_told_calls(url: str, source: Source, day: Day) -> Day:
    """Return a day, as it was fetched, with the calls that only webhooks have told of.

    Args:
        url: of the database.
        source: takes webhooks or not.
        day: of raw calls.

    Raises:
        DatabaseError: it cannot be reached.
        UnavailableError: it went away.
    """
    stay_from = source.account.webhooks_stay_from(day.fetched_at)
    first, last = day.day, day.day + timedelta(days=1)
    start, end = (day_start(one, source.time_zone) for one in (first, last))
    if source.webhook is None or stay_from is None or stay_from >= end:
        return day
    # Without an end, each day of years that a refresh left within its grace would cost a look at
    # all that ever came after it. What comes even later has the next refresh read the day again.
    came = (start - _EARLIEST, end + source.webhook.grace)
    known = set(day.call_ids)
    told = [
        call
        for call in _read_last_words(url, source, *came)
        if max(start, stay_from) <= call.called_at < end and call.call_id not in known
    ]
    if not told:
        return day
    import pyarrow as pa  # noqa: PLC0415 -- most sources take no webhooks

    added = build_table(
        [call.call_id for call in told],
        [int(call.called_at.timestamp()) for call in told],
        [call.payload for call in told],
    )
    tables = [day.calls.select(added.column_names), added]
    both = pa.concat_tables(tables, promote_options="permissive")
    return replace(day, calls=both.sort_by([("called_at", "ascending"), ("call_id", "ascending")]))


def read_days_of_reports(
    url: str, store: RawStore, source: Source, days: Sequence[date], unreadable: dict[date, str]
) -> Iterator[Day]:
    """Read the days' calls; put days whose raw calls cannot be read into `unreadable`, with why.

    The one place where a report's calls come from: raw calls, and what only webhooks told of yet.
    """
    for day in days:
        problem = source.find_retention_problem(day)
        if problem:
            unreadable[day] = problem
            continue
        try:
            yield add_told_calls(url, source, store.read(source.name, day))
        except MissingDayError:
            unreadable[day] = ""
        except UnreadableDayError as error:
            unreadable[day] = str(error)


def _read_last_words(
    url: str, source: Source, since: datetime, until: datetime
) -> Iterator[RawCall]:
    with Session(url) as session:
        account_id = find_account_id(session, source.account)
        rows = read_received(session, account_id, since, until) if account_id else []
        fields = source.webhook.fields if source.webhook else {}
        forgotten = read_forgotten_told(session, account_id, fields) if account_id else None
    for told in group_by_call(_read_usable(rows, source)).values():
        yield (forgotten.erase(told[0]) if forgotten else told[0]).call


def _read_usable(rows: list[Row], source: Source) -> Iterator[Told]:
    assert source.webhook is not None  # noqa: S101 -- its calls stay for no time otherwise
    for row in rows:
        try:
            yield read_told(row, source.webhook.fields)
        except UnusablePayloadError:
            continue
