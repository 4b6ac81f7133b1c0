"""The plan of a refresh: every day that must be read is, none that cannot be, in few runs."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from callkeeper_assets.plans import DayRange, plan_refresh

TODAY = date(2026, 3, 10)
EARLY = date(2020, 1, 1)
DAYS = st.dates(date(2025, 1, 1), date(2026, 4, 1))


def back(days: int) -> date:
    return TODAY - timedelta(days=days)


def _days(ranges: list[DayRange]) -> list[date]:
    return [
        day
        for one in ranges
        for day in (
            *(one.first + timedelta(days=n) for n in range((one.last - one.first).days + 1)),
            *one.others,
        )
    ]


def test_without_open_calls_the_overlap_is_one_run() -> None:
    ranges = plan_refresh(today=TODAY, overlap_days=3, first_day=EARLY, unsettled=[])
    assert ranges == [DayRange(back(3), TODAY)]


def test_sixty_old_days_that_lie_apart_are_one_run() -> None:
    apart = [back(20 + 9 * n) for n in range(60)]
    ranges = plan_refresh(today=TODAY, overlap_days=1, first_day=EARLY, unsettled=apart)
    oldest, *others = sorted(apart)
    assert ranges == [DayRange(oldest, oldest, others=tuple(others)), DayRange(back(1), TODAY)]
    assert [one.days for one in ranges] == [60, 2]


def test_hundreds_of_them_are_few_runs() -> None:
    """A run's tag lists them, and an index of the database has no room for thousands."""
    apart = [back(20 + n) for n in range(0, 700, 2)]
    ranges = plan_refresh(today=TODAY, overlap_days=1, first_day=EARLY, unsettled=apart)
    assert len(ranges) == 5
    assert sorted(_days(ranges)) == sorted([*apart, back(1), TODAY])


def test_near_days_join_the_overlap_rather_than_cost_a_run() -> None:
    ranges = plan_refresh(
        today=TODAY, overlap_days=1, first_day=EARLY, unsettled=[back(6), back(13), back(21)]
    )
    assert ranges == [DayRange(back(21), back(21)), DayRange(back(13), TODAY)]


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
def test_the_runs_have_every_needed_day_once(
    overlap: int, first_day: date, unsettled: list[date]
) -> None:
    ranges = plan_refresh(
        today=TODAY, overlap_days=overlap, first_day=first_day, unsettled=unsettled
    )
    needed = {back(days) for days in range(overlap + 1)} | set(unsettled)
    needed = {day for day in needed if first_day <= day <= TODAY}
    planned = _days(ranges)
    assert len(planned) == len(set(planned)) == sum(one.days for one in ranges)
    assert needed <= set(planned)
    assert len(ranges) <= 2
    # What nobody needs is read only between days that are near to each other.
    assert all(min(abs((day - other).days) for other in needed) <= 3 for day in planned)
    assert first_day <= min(planned)
    assert max(planned) == TODAY
