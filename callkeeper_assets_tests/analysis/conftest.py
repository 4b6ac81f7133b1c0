"""A warehouse and raw files of two sources in two time zones, for whoever reads them."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.home import raw_url
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets_tests.warehouse.raw_days import (
    MAIN,
    MOSCOW,
    call,
    day_of,
    fetched,
    load_all,
)

FIRST = date(2026, 3, 2)
SECOND = date(2026, 3, 3)
OMSK = ZoneInfo("Asia/Omsk")

_SOURCE = """\
type: callkeeper_assets.CallKeeperSource
attributes:
  api_key: {{env: CALLKEEPER_API_KEY}}
  time_zone: {zone}
  start_date: 2026-01-01
{rest}"""
_REPORTS = """\
  reports:
    - name: talks
      fields: {id: id, talk: duration2_sec, city: city}
    - name: campaigns
      fields: [id]
      structure:
        - table: campaign_calls
          key: [call_id]
          columns:
            call_id: {path: id, type: bigint}
            cost: {path: duration_sec, type: numeric}
"""


@pytest.fixture
def sources(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with `main_office` in Moscow, which has reports, and `siberia` in Omsk."""
    folder = home / "defs"
    for name, zone, rest in (
        ("main_office", "Europe/Moscow", _REPORTS),
        ("siberia", "Asia/Omsk", ""),
    ):
        file = folder / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(_SOURCE.format(zone=zone, rest=rest))
    monkeypatch.setenv("CALLKEEPER_DEFS", str(folder))
    return folder


@pytest.fixture
def loaded(sources: Path, database: str) -> str:
    """The database with two days of `main_office`, two calls each, and one day of `siberia`."""
    assert sources.is_dir()
    store = RawStore(raw_url())
    days = (
        day_of(
            FIRST,
            [
                call(1, city="Москва", duration2_sec=50),
                call(2, city="Тула", duration2_sec=10, status_code="486", status2_code=None),
            ],
        ),
        day_of(SECOND, [call(3, city="O'Фаллон \\ 50% ?", duration2_sec=70), call(4, city=None)]),
    )
    for day in days:
        as_fetched = fetched(day, datetime.now(UTC))
        store.write(as_fetched.calls, as_fetched.details)
    load_all(database, days, MAIN)
    siberia = Account("siberia", "Siberia", OMSK, timedelta(0))
    load_all(database, [replace(day_of(FIRST, [call(9)], OMSK))], siberia)
    assert MOSCOW.key == "Europe/Moscow"
    return database
