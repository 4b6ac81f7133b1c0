"""The plan of a refresh: every day that must be read is, none that cannot be, in few runs."""

import itertools
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.runs.refresh_plan import DayRange, plan_refresh

TODAY = date(2026, 3, 10)
DAYS = st.dates(date(2025, 1, 1), date(2026, 4, 1))


def back(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_without_open_calls_the_overlap_is_one_range() -> None:
    ranges = plan_refresh(today=TODAY, overlap_days=3, first_day=date(2020, 1, 1), unsettled=[])
    assert ranges == [DayRange(back(3), TODAY)]


def test_an_old_day_with_an_open_call_is_a_range_of_its_own() -> None:
    ranges = plan_refresh(
        today=TODAY, overlap_days=1, first_day=date(2020, 1, 1), unsettled=[back(60)]
    )
    assert ranges == [DayRange(back(60), back(60)), DayRange(back(1), TODAY)]


def test_a_near_day_joins_the_range_beside_it_rather_than_cost_a_run() -> None:
    ranges = plan_refresh(
        today=TODAY, overlap_days=1, first_day=date(2020, 1, 1), unsettled=[back(6)]
    )
    assert ranges == [DayRange(back(6), TODAY)]


def test_nothing_before_the_plans_limit_is_asked_for() -> None:
    ranges = plan_refresh(
        today=TODAY, overlap_days=30, first_day=back(5), unsettled=[back(200), back(6)]
    )
    assert ranges == [DayRange(back(5), TODAY)]


def test_a_source_that_begins_in_the_future_has_nothing_to_read() -> None:
    assert plan_refresh(today=TODAY, overlap_days=3, first_day=back(-1), unsettled=[]) == []


@given(
    overlap=st.integers(0, 40),
    first_day=st.dates(date(2025, 1, 1), TODAY),
    unsettled=st.lists(DAYS, max_size=40),
)
def test_ranges_cover_every_needed_day_once_and_stay_apart(
    overlap: int, first_day: date, unsettled: list[date]
) -> None:
    ranges = plan_refresh(
        today=TODAY, overlap_days=overlap, first_day=first_day, unsettled=unsettled
    )
    needed = {back(days) for days in range(overlap + 1)} | set(unsettled)
    needed = {day for day in needed if first_day <= day <= TODAY}
    assert all(sum(one.first <= day <= one.last for one in ranges) == 1 for day in needed)
    assert {one.first for one in ranges} | {one.last for one in ranges} <= needed
    assert all(
        (later.first - earlier.last).days > 7 for earlier, later in itertools.pairwise(ranges)
    )
