"""Which days are built from stored raw calls: a pure decision, so every case is a line."""

from datetime import date, timedelta

from callkeeper_assets.plans import DayRange, plan_rebuild, plan_report

TODAY = date(2026, 3, 31)


def back(*days: int) -> list[date]:
    """The days so many days before today."""
    return [TODAY - timedelta(days=n) for n in days]


def plan(
    stale: list[date], stored: list[date], first_day: date = date(2026, 1, 1)
) -> list[DayRange]:
    return plan_report(today=TODAY, overlap_days=1, first_day=first_day, stale=stale, stored=stored)


def test_only_days_whose_raw_calls_are_there_are_planned() -> None:
    assert plan([], []) == []
    assert plan(back(5, 9), back(9)) == [DayRange(*back(9, 9))]
    assert plan([], back(0, 1, 2)) == [DayRange(*back(1, 0))], "the overlap, today with it"


def test_a_small_gap_is_built_too_if_all_of_it_is_there() -> None:
    assert plan(back(9, 6), back(*range(2, 12))) == [DayRange(*back(9, 6))]
    assert plan(back(9, 6), back(9, 8, 6)) == [DayRange(*back(9, 9)), DayRange(*back(6, 6))]
    assert plan(back(20, 9), back(*range(2, 30))) == [
        DayRange(*back(20, 20)),
        DayRange(*back(9, 9)),
    ]


def test_days_before_the_first_partition_and_after_today_are_left_out() -> None:
    stored = back(*range(-2, 10))
    assert plan(back(-1, 9), stored, first_day=TODAY) == [DayRange(TODAY, TODAY)]


def test_outdated_days_are_rebuilt_where_raw_calls_are_there_and_the_source_keeps_them() -> None:
    stored = back(*range(-1, 9))
    outdated = back(-1, 0, 1, 3, 8, 9)
    assert plan_rebuild(first_day=back(8)[0], today=TODAY, outdated=outdated, stored=stored) == [
        DayRange(*back(8, 0))
    ]
    assert plan_rebuild(
        first_day=back(3)[0], today=TODAY, outdated=outdated, stored=back(0, 1, 3)
    ) == [DayRange(*back(3, 3)), DayRange(*back(1, 0))]
    assert plan_rebuild(first_day=TODAY, today=TODAY, outdated=[], stored=stored) == []
