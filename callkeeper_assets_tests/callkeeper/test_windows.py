"""A day's window in any zone, and what its pieces cover."""

from datetime import date, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import example, given
from hypothesis import strategies as st

from callkeeper_assets.callkeeper.windows import LongestWindow, Window, window_of_day

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
DAYS = st.dates(date(1995, 1, 1), date(2037, 12, 31))


def _hours(day: date, zone: str) -> float:
    return window_of_day(day, ZoneInfo(zone)).seconds / 3600


@given(zone=st.sampled_from(ZONES), first=DAYS, count=st.integers(1, 400))
@example(zone="Pacific/Apia", first=date(2011, 12, 28), count=5)
@example(zone="America/Sao_Paulo", first=date(2017, 10, 14), count=3)
@example(zone="Africa/Cairo", first=date(2024, 4, 25), count=3)
@example(zone="Antarctica/Casey", first=date(2011, 10, 27), count=3)
def test_consecutive_days_cover_every_second_once(zone: str, first: date, count: int) -> None:
    info = ZoneInfo(zone)
    windows = [window_of_day(first + timedelta(days=i), info) for i in range(count)]
    assert all(a.end == b.start for a, b in pairwise(windows))
    # The longest day that ever was: Casey station set its clocks back by three hours.
    assert all(0 <= window.seconds <= 27 * 3600 for window in windows)


@given(start=st.integers(0, 2**31), seconds=st.integers(1, 90_000), longest=st.integers(1, 90_000))
def test_pieces_cover_the_window_once_and_none_is_too_long(
    start: int, seconds: int, longest: int
) -> None:
    pieces = Window(start, start + seconds).pieces(longest)
    assert (pieces[0].start, pieces[-1].end) == (start, start + seconds)
    assert all(a.end == b.start for a, b in pairwise(pieces))
    assert all(0 < piece.seconds <= longest for piece in pieces)


def test_days_have_as_many_hours_as_the_zone_gives_them() -> None:
    assert _hours(date(2026, 1, 5), "Europe/Moscow") == 24
    assert _hours(date(2026, 3, 29), "Europe/Berlin") == 23
    assert _hours(date(2026, 10, 25), "Europe/Berlin") == 25
    assert _hours(date(2026, 4, 5), "Australia/Lord_Howe") == 24.5
    # There midnight itself does not exist: the day begins at one o'clock.
    assert _hours(date(2017, 10, 15), "America/Sao_Paulo") == 23
    # The zone crossed the date line and had no such day.
    assert _hours(date(2011, 12, 30), "Pacific/Apia") == 0


def test_a_window_is_asked_a_second_wider_in_utc() -> None:
    window = window_of_day(date(2026, 1, 5), ZoneInfo("Asia/Kolkata"))
    assert window.asked() == ("2026-01-04T18:29:59", "2026-01-05T18:30:01")


def test_the_longest_window_shrinks_to_a_minute_and_recovers_to_a_day() -> None:
    longest = LongestWindow()
    window = Window(0, 86_400)
    while window.can_be_halved:
        longest.refused(window)
        window = window.pieces(window.half_sec)[0]
    assert longest.seconds == 60
    for _ in range(20):
        longest.went_well()
    assert longest.seconds > 25 * 3600
