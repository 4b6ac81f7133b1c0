"""The guard of a stored day: its bounds are exact."""

import pytest

from callkeeper_assets.raw.guard import Guard


def calls(count: int, start: int = 0) -> set[int]:
    return set(range(start, start + count))


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        (calls(0), calls(0), False),
        (calls(0), calls(100), False),
        (calls(1), calls(0), True),
        (calls(100), calls(70), False),
        (calls(100), calls(69), True),
        (calls(30), calls(11), False),
        (calls(30), calls(10), True),
        (calls(19), calls(1), False),
        (calls(100), calls(100, start=50), True),
    ],
    ids=[
        "never had calls",
        "first calls",
        "one call, now empty",
        "exactly the allowed share",
        "a call more than the allowed share",
        "a large share of few calls",
        "a large share of just enough calls",
        "too few calls to judge",
        "as many calls, but half of them others",
    ],
)
def test_a_day_is_refused_only_beyond_share_and_count(
    before: set[int], now: set[int], refused: bool
) -> None:
    assert Guard(max_lost_share=0.3, min_calls=20).refuses(before, now) is refused
