"""Days on the time line: one rule for what is asked, stored and deleted, in any zone."""

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callkeeper_assets.callkeeper.windows import window_of_day
from callkeeper_assets.local_time import day_start, find_day, list_stretches, split_day
from callkeeper_assets_tests.zones import make_zone

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
MOMENTS = st.datetimes(datetime(2010, 1, 2), datetime(2037, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
DAYS = st.dates(date(2010, 1, 2), date(2037, 12, 30))
_DAY = timedelta(days=1)


@given(zone=st.sampled_from(ZONES), moment=MOMENTS)
# The clock is put back from 00:01 to 23:01: the day before is shown once more.
@example(zone="America/St_Johns", moment=datetime(2010, 11, 7, 2, 45, tzinfo=UTC))
@example(zone="Pacific/Apia", moment=datetime(2011, 12, 30, 10, 0, tzinfo=UTC))
@example(zone="Africa/Casablanca", moment=datetime(2026, 2, 15, 2, 30, tzinfo=UTC))
def test_every_moment_lies_on_the_one_day_whose_bounds_hold_it(zone: str, moment: datetime) -> None:
    info = ZoneInfo(zone)
    day = find_day(moment, info)
    assert day_start(day, info) <= moment < day_start(day + _DAY, info)


@given(zone=st.sampled_from(ZONES), day=DAYS)
@example(zone="America/St_Johns", day=date(2010, 11, 7))
@example(zone="America/St_Johns", day=date(2011, 3, 13))
@example(zone="Pacific/Apia", day=date(2011, 12, 30))
@example(zone="Asia/Beirut", day=date(2026, 10, 24))
@example(zone="Antarctica/Troll", day=date(2026, 3, 29))
def test_segments_cover_the_asked_window_and_tell_its_clock(zone: str, day: date) -> None:
    info = ZoneInfo(zone)
    segments, window = split_day(day, info), window_of_day(day, info)
    assert segments[0].starts_at.timestamp() == window.start
    assert segments[-1].ends_at.timestamp() == window.end
    for earlier, later in itertools.pairwise(segments):
        assert earlier.ends_at == later.starts_at
    for one in segments:
        for moment in (one.starts_at, one.ends_at - timedelta(seconds=1)):
            offset = moment.astimezone(info).utcoffset()
            if one.starts_at < one.ends_at:
                assert offset == timedelta(minutes=one.offset_minutes)


def test_adjoining_days_are_one_stretch() -> None:
    zone = ZoneInfo("Asia/Kolkata")
    days = [date(2026, 1, 3), date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 9)]
    assert list_stretches(days, zone) == [
        (day_start(date(2026, 1, 1), zone), day_start(date(2026, 1, 4), zone)),
        (day_start(date(2026, 1, 9), zone), day_start(date(2026, 1, 10), zone)),
    ]
    assert list_stretches([], zone) == []


@pytest.mark.parametrize("second", [0, 1, 59])
def test_a_change_at_any_second_parts_the_day_there(second: int) -> None:
    change = datetime(2026, 5, 4, 10, 17, second)  # noqa: DTZ001 -- UTC, by make_zone's word
    zone = make_zone("Made/Up", timedelta(hours=5), {change: timedelta(hours=6)})
    segments = split_day(date(2026, 5, 4), zone)
    assert [one.offset_minutes for one in segments] == [300, 360]
    assert segments[0].ends_at == change.replace(tzinfo=UTC)


@pytest.mark.parametrize("minutes", [-14, -5, -1, 1, 7, 14])
def test_a_change_of_less_than_a_quarter_of_an_hour_parts_the_day(minutes: int) -> None:
    change = datetime(2026, 5, 4, 10, 17)  # noqa: DTZ001 -- UTC, by make_zone's word
    later = timedelta(hours=5, minutes=minutes)
    zone = make_zone("Made/Up", timedelta(hours=5), {change: later})
    first, last = split_day(date(2026, 5, 4), zone)
    assert (first.offset_minutes, last.offset_minutes) == (300, 300 + minutes)
    assert first.ends_at == last.starts_at == change.replace(tzinfo=UTC)
    assert last.ends_at == datetime(2026, 5, 5, tzinfo=UTC) - later


@pytest.mark.parametrize("before_midnight_sec", [1, 59, 60, 600, 1800, 3599])
def test_a_day_whose_midnight_is_skipped_begins_with_the_skip(before_midnight_sec: int) -> None:
    """Not at what would have been midnight: that is later, and the moments between are no day's."""
    skip = datetime(2026, 5, 3, 19) - timedelta(seconds=before_midnight_sec)  # noqa: DTZ001
    zone = make_zone("Made/Up", timedelta(hours=5), {skip: timedelta(hours=6)})
    day, start = date(2026, 5, 4), skip.replace(tzinfo=UTC)
    assert day_start(day, zone) == start
    assert [find_day(start + timedelta(seconds=s), zone) for s in (-1, 0, 1)] == [
        day - _DAY,
        day,
        day,
    ]
    assert [one.offset_minutes for one in split_day(day, zone)] == [360]
    assert split_day(day - _DAY, zone)[-1].ends_at == start


def test_a_day_that_never_was_has_no_length_and_its_neighbours_adjoin() -> None:
    apia, never = ZoneInfo("Pacific/Apia"), date(2011, 12, 30)
    window = window_of_day(never, apia)
    assert window.seconds == 0
    assert window_of_day(never - _DAY, apia).end == window.start
    assert window_of_day(never + _DAY, apia).start == window.end
    assert window_of_day(never + _DAY, apia).seconds == 24 * 3600
