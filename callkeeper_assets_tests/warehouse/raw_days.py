"""Raw calls for the warehouse's tests: small, typed builders, no simulator.

A call is a plain dictionary in the API's shape; `day_of` puts calls into a `Day`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pyarrow as pa

from callkeeper_assets.raw.store import Day, DayDetails
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.loader import Loader
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.warehouse.records import Account, LoadedDay, RefusedDay
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES

MOSCOW = ZoneInfo("Europe/Moscow")
# Calls of webhooks stay from the very moment on at which a day was fetched.
MAIN = Account("main_office", "Main office", MOSCOW, timedelta(0))
DAY = date(2026, 3, 2)

Call = dict[str, Any]


def moment_of(day: date, minute: int, zone: ZoneInfo = MOSCOW) -> datetime:
    """Return the UTC time of a minute of the day on the wall's clock."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return start + timedelta(minutes=minute)


def call(call_id: int, **fields: object) -> Call:
    """Return a successful call with everything known; `fields` replace or add top-level fields."""
    return {
        "id": call_id,
        "visit_info": {
            "current": {"typ": "utm", "src": "yandex", "mdm": "cpc", "cmp": "windows"},
            "current_add": {"ep": "https://okna.example/?a=1", "rf": "https://ya.example"},
            "first": {"typ": "organic", "src": "google", "mdm": "organic", "cmp": "(none)"},
            "first_add": {"fd": "2026-01-01 10:00:00", "ep": "https://okna.example/"},
            "session": {"pgs": "3", "cpg": "https://okna.example/price"},
            "udata": {"vst": 2, "uag": "Mozilla/5.0", "uip": "10.0.0.1"},
        },
        "status_code": "200",
        "status_reason": "OK",
        "status2_code": 200,
        "status2_reason": "OK",
        "ip": "10.0.0.2",
        "country": "RU",
        "region": "Москва",
        "city": "Москва",
        "site": "okna.example",
        "ga_clientid": f"ga.{call_id}",
        "ya_clientid": f"ya{call_id}",
        "phone1": "+70000000001^42",
        "phone2": f"+7000{call_id:07d}",
        "widget_hash": "ab12",
        "widget_name": "Основной",
        "order_date": "2026-03-02 09:00:00",
        "duration_sec": "65",
        "duration_min": 2,
        "duration2_sec": 50,
        "duration2_min": "1",
        "record_url": "https://records.example/1.mp3",
        "attempt": 1,
        "a_type": 3,
        "playback_tick": "0",
        "asr_attempts": None,
        "tags": " ",
        "event_source": "widget",
        **fields,
    }


def raw_day(day: date, calls: Iterable[tuple[int, datetime, str]]) -> Day:
    """Return a day of (call_id, called_at, payload)."""
    rows = list(calls)
    return Day(
        day,
        pa.table(
            {
                "call_id": pa.array([row[0] for row in rows], pa.int64()),
                "called_at": pa.array([row[1] for row in rows], pa.timestamp("us", "UTC")),
                "payload": pa.array([row[2] for row in rows], pa.string()),
            }
        ),
    )


def day_of(day: date, calls: Sequence[Call], zone: ZoneInfo = MOSCOW) -> Day:
    """Return a day with one call a minute."""
    return day_of_minutes(day, enumerate(calls), zone)


def day_of_minutes(day: date, calls: Iterable[tuple[int, Call]], zone: ZoneInfo = MOSCOW) -> Day:
    """Return a day of calls, each with its minute on the wall's clock."""
    return raw_day(
        day,
        (
            (c["id"], moment_of(day, minute, zone), json.dumps(c, ensure_ascii=False))
            for minute, c in calls
        ),
    )


def fetched(day: Day, at: datetime) -> Day:
    """Return the day as one that the source was asked for at that moment."""
    details = DayDetails(
        source=MAIN.name,
        day=day.day,
        time_zone=MOSCOW.key,
        window_from=moment_of(day.day, 0),
        window_to=moment_of(day.day, 24 * 60),
        requests=1,
        fetched_at=at,
        run_id="run",
    )
    return replace(day, fetched=details)


def load_days(
    url: str,
    account: Account,
    days: Iterable[Day],
    **options: Any,  # noqa: ANN401 -- the loader's own
) -> Iterator[LoadedDay | RefusedDay]:
    """Load days over a connection of their own, into tables that are made if need be."""
    ensure_schema(url)
    with Loader(url) as loader:
        yield from loader.load(account, days, **options)


def load(
    url: str,
    days: Iterable[Day],
    account: Account = MAIN,
    *,
    tables: Sequence[str] = SELECTABLE_TABLES,
    filters: Mapping[str, Sequence[Filter]] | None = None,
    force: bool = False,
) -> list[LoadedDay | RefusedDay]:
    """Load days with everything chosen and nothing filtered, unless told otherwise."""
    return list(
        load_days(
            url,
            account,
            days,
            tables=tables,
            filters=filters or {},
            run_id="run",
            **({"guard": None} if force else {}),
        )
    )


def load_all(
    url: str,
    days: Iterable[Day],
    account: Account = MAIN,
    *,
    tables: Sequence[str] = SELECTABLE_TABLES,
    filters: Mapping[str, Sequence[Filter]] | None = None,
    force: bool = False,
) -> list[LoadedDay]:
    """Load days of which none may be refused."""
    results = load(url, days, account, tables=tables, filters=filters, force=force)
    assert all(isinstance(result, LoadedDay) for result in results), results
    return [result for result in results if isinstance(result, LoadedDay)]


def changes(results: Iterable[LoadedDay]) -> dict[str, tuple[int, int, int]]:
    """Return rows added, updated and deleted, by table; tables without a change left out."""
    total: dict[str, tuple[int, int, int]] = {}
    for result in results:
        for table, c in result.counts.items():
            a, u, d = total.get(table, (0, 0, 0))
            total[table] = (a + c.added, u + c.updated, d + c.deleted)
    return {table: counts for table, counts in total.items() if any(counts)}


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Return a query's rows."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def row(url: str, table: str, where: str = "true") -> dict[str, Any]:
    """Return the one row of a table as a dictionary."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute(f"SELECT * FROM {table} WHERE {where}".encode())
        found = cursor.fetchall()
        assert len(found) == 1, f"{table} has {len(found)} rows where {where}"
        assert cursor.description is not None
        return {
            column.name: value for column, value in zip(cursor.description, found[0], strict=True)
        }
