"""The newest day that is due: of any schedule, around midnight, and across a change of clocks."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.config.loading import load_source_file
from callkeeper_assets.config.models import find_last_tick, find_next_tick
from callkeeper_assets.config.source import Source
from callkeeper_assets.plans import measure_freshness

MOSCOW = ZoneInfo("Europe/Moscow")


def _at(text: str, zone: ZoneInfo = MOSCOW) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A source with everything left at its default: a refresh at 5 each morning."""
    file = tmp_path / "main_office" / "defs.yaml"
    file.parent.mkdir()
    file.write_text(
        "type: callkeeper_assets.CallKeeperSource\nattributes:\n  api_key: {env: KEY}\n"
    )
    return load_source_file(file)


@pytest.mark.parametrize(
    ("cron", "now", "newest", "due", "since", "is_long"),
    [
        # Before the refresh has had its two hours, yesterday's is the newest that is due.
        ("0 5 * * *", "2026-01-12 00:10", "2026-01-11", "2026-01-11", None, False),
        ("0 5 * * *", "2026-01-12 06:59", "2026-01-11", "2026-01-11", None, False),
        ("0 5 * * *", "2026-01-12 07:00", "2026-01-11", "2026-01-12", "2026-01-12 05:00", False),
        ("0 5 * * *", "2026-01-12 07:00", "2026-01-12", "2026-01-12", None, False),
        ("0 5 * * *", "2026-01-13 07:00", "2026-01-11", "2026-01-13", "2026-01-12 05:00", True),
        # Years of history, loaded today, are no newest day.
        ("0 5 * * *", "2026-01-12 12:00", "2025-12-31", "2026-01-12", "2026-01-01 05:00", True),
        ("30 1 * * 0", "2026-01-17 12:00", "2026-01-11", "2026-01-11", None, False),
        ("30 1 * * 7", "2026-01-18 12:00", "2026-01-12", "2026-01-18", "2026-01-18 01:30", False),
        ("30 1 * * 0", "2026-01-25 12:00", "2026-01-12", "2026-01-25", "2026-01-18 01:30", True),
        ("0 */4 * * *", "2026-01-12 01:00", "2026-01-11", "2026-01-11", None, False),
        ("0 */4 * * *", "2026-01-12 23:00", "2026-01-11", "2026-01-12", "2026-01-12 00:00", False),
        ("*/5 * * * *", "2026-01-12 12:00", "2026-01-10", "2026-01-12", "2026-01-11 00:00", True),
        ("59 23 * * *", "2026-01-12 01:58", "2026-01-10", "2026-01-10", None, False),
        ("59 23 * * *", "2026-01-12 01:59", "2026-01-10", "2026-01-11", "2026-01-11 23:59", False),
    ],
)
def test_what_is_due_is_the_day_of_the_last_refresh(
    source: Source,
    cron: str,
    now: str,
    newest: str,
    *,
    due: str,
    since: str | None,
    is_long: bool,
) -> None:
    refreshed = replace(source, refresh=replace(source.refresh, cron=cron))
    found = measure_freshness(refreshed, date.fromisoformat(newest), _at(now))
    assert found.due_day == date.fromisoformat(due)
    assert found.missing_since == (None if since is None else _at(since))
    assert found.is_long == is_long


def test_status_need_not_wait_for_a_refresh_that_takes_its_time(source: Source) -> None:
    now, newest = _at("2026-01-12 05:01"), date(2026, 1, 11)
    assert measure_freshness(source, newest, now).missing_since is None
    found = measure_freshness(source, newest, now, grace=timedelta(0))
    assert found.missing_since == _at("2026-01-12 05:00")


@pytest.mark.parametrize(
    ("cron", "zone", "until", "tick"),
    [
        # On the night of the change 02:30 does not exist: it is due an hour later.
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 12:00", "2026-03-29 03:30"),
        ("0 5 1 * *", "Europe/Moscow", "2026-01-31 23:00", "2026-01-01 05:00"),
        ("0 5 29 2 *", "Europe/Moscow", "2027-06-01 00:00", "2024-02-29 05:00"),
        # With both days given, either will do.
        ("0 5 1 * mon", "Europe/Moscow", "2026-01-07 00:00", "2026-01-05 05:00"),
        ("0 5 1 * mon", "Europe/Moscow", "2026-01-04 00:00", "2026-01-01 05:00"),
        ("15,45 8-9 * jan,feb *", "Asia/Kolkata", "2026-12-01 00:00", "2026-02-28 09:45"),
        ("0 0 * * *", "America/Sao_Paulo", "2017-10-15 12:00", "2017-10-15 01:00"),
    ],
)
def test_the_last_time_a_schedule_was_due(cron: str, zone: str, until: str, tick: str) -> None:
    info = ZoneInfo(zone)
    found = find_last_tick(cron, _at(until, info), info)
    assert found == _at(tick, info).astimezone(UTC)
    assert find_next_tick(cron, found, info) == found
    assert find_next_tick(cron, found - timedelta(seconds=1), info) == found
