"""A warehouse and raw files of two sources in two time zones, for whoever reads them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.warehouse.raw_days import (
    MAIN,
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


@dataclass(frozen=True)
class Loaded:
    """What lies where."""

    database: str
    defs: Path
    raw: Path


@pytest.fixture(scope="session")
def installation(
    make_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loaded]:
    """Two days of `main_office`, two calls each, and one day of `siberia`, made once."""
    folder = tmp_path_factory.mktemp("analysis")
    for name, zone, rest in (
        ("main_office", "Europe/Moscow", _REPORTS),
        ("siberia", "Asia/Omsk", ""),
    ):
        file = folder / "defs" / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(_SOURCE.format(zone=zone, rest=rest))
    store = RawStore(str(folder / "raw"))
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
    with make_database(Template.WAREHOUSE) as url:
        load_all(url, days, MAIN)
        siberia = Account("siberia", "Siberia", OMSK, timedelta(0))
        load_all(url, [day_of(FIRST, [call(9)], OMSK)], siberia)
        yield Loaded(url, folder / "defs", folder / "raw")


@pytest.fixture
def loaded(installation: Loaded, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the database with `installation` in it, which is in force."""
    monkeypatch.setenv("CALLKEEPER_DATABASE_URL", installation.database)
    monkeypatch.setenv("CALLKEEPER_DEFS", str(installation.defs))
    monkeypatch.setenv("CALLKEEPER_RAW_URL", str(installation.raw))
    return installation.database
