"""The guard lets a day lose a few calls, not many: not at once, and not little by little."""

from datetime import date, timedelta

import pytest

from callkeeper_assets.raw.store import Day
from callkeeper_assets.warehouse.guard import DayBalance, find_refusal, is_worth_keeping
from callkeeper_assets.warehouse.records import Guard, LoadedDay
from callkeeper_assets_tests.warehouse.raw_days import DAY, call, day_of, load, row


@pytest.mark.parametrize(
    ("had", "sent", "held", "vanished", "is_refused"),
    [
        (0, 0, 0, 0, False),
        (0, 100, 0, 0, False),
        (100, 100, 100, 0, False),
        (1, 0, 1, 1, True),
        (3, 0, 3, 3, True),
        (100, 70, 100, 30, False),
        (100, 69, 100, 31, True),
        (30, 11, 30, 19, True),
        (19, 1, 19, 18, True),
        (7, 1, 7, 6, True),
        # A handful is no loss to stop a night for: somebody deleted test calls.
        (6, 1, 6, 5, False),
        (3, 1, 3, 2, False),
        (100, 100, 100, 50, True),
        (100, 50, 0, 0, True),
        (0, 10, 100, 90, True),
        (100, 200, 100, 0, False),
    ],
)
def test_a_day_is_refused_when_too_much_of_it_is_gone(
    had: int,
    sent: int,
    held: int,
    vanished: int,
    is_refused: bool,
) -> None:
    balance = DayBalance(DAY, had, sent, held, vanished)
    assert (find_refusal("main", balance, Guard()) is not None) == is_refused


@pytest.mark.parametrize(
    ("before", "sent", "is_kept"),
    [
        # More than a handful and more than a fifth.
        (29, 23, True),
        (30, 24, False),
        (31, 25, False),
        (25, 20, False),
        (25, 19, True),
        (10, 5, False),
        (10, 4, True),
        (100, 79, True),
        (100, 80, False),
        (100, 81, False),
        (100, 120, False),
        (0, 0, False),
    ],
)
def test_a_day_that_lost_a_handful_and_a_fifth_is_kept_beside(
    before: int, sent: int, is_kept: bool
) -> None:
    balance = DayBalance(DAY, before, sent, held=0, vanished=0)
    assert is_worth_keeping(balance) is is_kept


def test_a_day_that_had_no_call_or_lost_none_is_never_refused() -> None:
    """Whichever of the two is the case, and however little may be lost."""
    strict = Guard(max_lost_share=0.0, handful=0)
    assert find_refusal("main", DayBalance(DAY, had=0, sent=0, held=0, vanished=0), strict) is None
    assert find_refusal("main", DayBalance(DAY, had=9, sent=9, held=9, vanished=0), strict) is None
    assert find_refusal("main", DayBalance(DAY, had=9, sent=0, held=0, vanished=0), strict)


def test_a_refusal_says_how_much_is_gone() -> None:
    balance = DayBalance(DAY, had=40, sent=25, held=40, vanished=15)
    said = find_refusal("main", balance, Guard())
    assert said is not None
    assert "15 of 40 calls are gone" in said
    assert "(38%; it sends 25, allowed to lose are 30% or 5 calls)" in said


def test_the_share_is_settable() -> None:
    balance = DayBalance(DAY, had=20, sent=10, held=20, vanished=10)
    assert find_refusal("main", balance, Guard(max_lost_share=0.4)) is not None
    assert find_refusal("main", balance, Guard(max_lost_share=0.5)) is None


def test_a_day_that_shrinks_a_little_each_time_is_refused_in_the_end(database: str) -> None:
    """Each of these is a day of its own, loaded beside the others as often as it changes."""
    histories = (
        ((40, 28, 19, 13), [40, 28]),
        ((100, 81, 65, 52), [100, 81]),
        ((100, 95, 90, 85, 80, 75, 70, 65, 60), [100, 95, 90, 85, 80, 75, 70]),
        # It grows, then shrinks: what counts is the most it ever had.
        ((10, 100, 75, 69, 71), [10, 100, 75, 71]),
        ((6, 1, 0), [6, 1]),
        ((19, 1), [19]),
        # Calls that come back are welcome, and lost once more they are the same loss.
        ((40, 30, 40, 30, 28, 27), [40, 30, 40, 30, 28]),
    )
    days = {DAY + timedelta(days=n): counts for n, (counts, _) in enumerate(histories)}
    loaded: dict[date, list[int]] = {day: [] for day in days}
    for turn in range(max(map(len, days.values()))):
        sent = {day: counts[turn] for day, counts in days.items() if turn < len(counts)}
        for result in load(database, [_day_of_calls(day, count) for day, count in sent.items()]):
            count, counts = sent[result.day], days[result.day]
            if isinstance(result, LoadedDay):
                loaded[result.day].append(result.raw_calls)
            else:
                assert (
                    f"of {max(counts[: counts.index(count)])} calls" in result.reason or not count
                )
                assert "--force" in result.reason
    assert list(loaded.values()) == [accepted for _, accepted in histories]
    for day, held in loaded.items():
        assert row(database, "callkeeper_days", f"day = '{day}'")["raw_calls"] == held[-1]


def _day_of_calls(day: date, count: int) -> Day:
    """A day of so many calls, whose ids are those of no other day."""
    first = 1000 * (day - DAY).days + 1
    return day_of(day, [call(n) for n in range(first, first + count)])


def test_what_was_forced_is_what_losses_count_from(database: str) -> None:
    for count, force in ((40, False), (13, True)):
        calls = [call(n) for n in range(count)]
        assert isinstance(load(database, [day_of(DAY, calls)], force=force)[0], LoadedDay)
    assert row(database, "callkeeper_days")["most_calls"] == 13
    assert isinstance(load(database, [day_of(DAY, [call(n) for n in range(10)])])[0], LoadedDay)
    refused = load(database, [day_of(DAY, [call(n) for n in range(7)])])[0]
    assert not isinstance(refused, LoadedDay)
    assert "6 of 13 calls are gone" in refused.reason
