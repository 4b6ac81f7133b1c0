"""What the server knows of time zones does not matter: not whether it has the name, nor its rules.

Each account's zone is made here: one has a name that no server knows, the other a name that every
server knows, with rules of its own.
"""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.local_time import day_start
from callkeeper_assets.postgres import connect
from callkeeper_assets.retention.old_calls import OldCalls
from callkeeper_assets.warehouse.queries import unsettled_days
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets_tests.warehouse.raw_days import (
    DAY,
    call,
    day_of,
    load_all,
    load_days,
    raw_day,
    rows,
)
from callkeeper_assets_tests.zones import make_zone

# Every server takes Europe/London for 0 or 1 hour from UTC.
ACCOUNTS = [
    Account("unknown", "Unknown", make_zone("Nowhere/Made_Up", timedelta(hours=5, minutes=30))),
    Account("other_rules", "Other rules", make_zone("Europe/London", timedelta(hours=9))),
]
ids = pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.name)
NEXT = DAY + timedelta(days=1)


@ids
def test_a_webhooks_call_is_unsettled_on_its_own_day(database: str, account: Account) -> None:
    """Near midnight, where another offset would give another day."""
    zone = account.time_zone
    begin, end = (
        datetime.combine(day, datetime.min.time(), zone).astimezone(UTC) for day in (DAY, NEXT)
    )
    reported = raw_day(DAY, [(1, begin, "{}"), (2, end - timedelta(minutes=1), "{}")])
    list(
        load_days(
            database,
            account,
            [reported],
            tables=SELECTABLE_TABLES,
            filters={},
            run_id="run",
            origin="webhook",
        )
    )
    after = DAY + timedelta(days=9)
    assert unsettled_days(database, account.name, zone, after) == [DAY]


@ids
def test_retention_keeps_each_hour_of_a_kept_day(database: str, account: Account) -> None:
    zone = account.time_zone
    days = [DAY - timedelta(days=1), DAY, NEXT]
    hours = [minute for hour in range(24) for minute in (60 * hour, 60 * hour + 59)]
    loads = []
    for place, day in enumerate(days):
        start = datetime.combine(day, datetime.min.time(), zone).astimezone(UTC)
        moments = [start + timedelta(minutes=minute) for minute in hours]
        loads.append(raw_day(day, [(100 * place + n, m, "{}") for n, m in enumerate(moments)]))
    load_all(database, loads, account)
    with connect(database, autocommit=True) as connection:
        old = OldCalls(connection, account, DAY)
        assert old.count()["callkeeper_calls"].rows == len(hours)
        gone = [deleted["callkeeper_calls"].rows for _, _, deleted in old.delete_days("retention")]
    assert gone == [len(hours)]
    left = rows(database, "SELECT count(*), min(call_id) FROM callkeeper_calls")
    assert left == [(2 * len(hours), 100)]
    logged = "SELECT day FROM callkeeper_loads WHERE origin = 'retention' AND table_name = '{}'"
    assert rows(database, logged.format("callkeeper_calls")) == [(days[0],)]


@ids
def test_retention_finds_days_that_only_calls_tell_of(database: str, account: Account) -> None:
    """The books may have lost a day: its calls are found by their time."""
    far = date(2020, 2, 29)
    load_all(database, [day_of(far, [call(1)], account.time_zone)], account)
    load_all(database, [day_of(DAY, [call(2)], account.time_zone)], account)
    with connect(database, autocommit=True) as connection:
        connection.execute("DELETE FROM callkeeper_days")
        old = OldCalls(connection, account, NEXT)
        done = [(number, total) for number, total, _ in old.delete_days("retention")]
    assert done == [(1, 2), (2, 2)]
    assert rows(database, "SELECT count(*) FROM callkeeper_calls") == [(0,)]


def test_days_around_one_that_never_was_are_loaded_whole(database: str) -> None:
    """Samoa went from the evening of 2011-12-29 to the morning of the 31st."""
    zone = ZoneInfo("Pacific/Apia")
    account = Account("apia", "Apia", zone)
    never = date(2011, 12, 30)
    days = [never - timedelta(days=1), never, never + timedelta(days=1)]
    skip = day_start(never, zone)
    moments = {days[0]: [skip - timedelta(seconds=1)], never: [], days[2]: [skip]}
    loads = [raw_day(day, [(day.day, moment, "{}") for moment in moments[day]]) for day in days]
    load_all(database, loads, account)
    found = (
        "SELECT call_id, simple_date, hour FROM callkeeper_calls_facts f "
        "JOIN callkeeper_calls c ON c.id = f.calls_id "
        "JOIN general_dates d ON d.id = f.dates_id ORDER BY call_id"
    )
    assert rows(database, found) == [(29, days[0], 23), (31, days[2], 0)]
