"""The guard lets a day lose some calls, not all and not many."""

import pytest

from callkeeper_assets.warehouse.guard import DayBalance, find_refusal
from callkeeper_assets.warehouse.records import Guard
from callkeeper_assets_tests.warehouse.raw_days import DAY


@pytest.mark.parametrize(
    ("had", "sent", "held", "vanished", "is_refused"),
    [
        (0, 0, 0, 0, False),
        (0, 100, 0, 0, False),
        (100, 100, 100, 0, False),
        (1, 0, 1, 1, True),
        (100, 70, 100, 30, False),
        (100, 69, 100, 31, True),
        (30, 11, 30, 19, False),
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


def test_the_limits_are_settable() -> None:
    balance = DayBalance(DAY, had=10, sent=5, held=10, vanished=5)
    assert find_refusal("main", balance, Guard(max_lost_share=0.4, min_calls=5)) is not None
    assert find_refusal("main", balance, Guard(max_lost_share=0.5, min_calls=5)) is None
