"""A made-up office's calls of eight weeks, the same each time, loaded once for all questions."""

import random
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.warehouse.raw_days import (
    MAIN,
    Call,
    call,
    day_of_minutes,
    load_all,
)

_FIRST = date(2026, 1, 5)
_DAYS = 56
_MARKS = (
    ("yandex", "cpc", "windows"),
    ("yandex", "cpc", "doors"),
    ("google", "organic", None),
    ("vk", "social", "spring"),
    ("leaflet", "qr", "yard"),
)
_SILENT = _MARKS[-1]
_MANAGERS = ("74950000001^12", "74950000001^15", "74950000002")
# Codes, and how often of a hundred.
_ENDS = ((200, 200, 55), (487, 0, 18), (200, 487, 14), (486, 0, 5), (815, 0, 4), (720, 0, 4))


def _draw_end(draw: float) -> tuple[int, int]:
    for code, code2, share in _ENDS:
        draw -= share / 100
        if draw < 0:
            return code, code2
    return 200, 487


def _make_calls() -> Iterator[tuple[date, list[tuple[int, Call]]]]:
    rng = random.Random(7).random  # noqa: S311 -- no secret
    number = 0
    for day in (_FIRST + timedelta(days=n) for n in range(_DAYS)):
        made = []
        for _ in range(3 if day.weekday() > 4 else 6 + int(rng() * 4)):
            number += 1
            marks = _MARKS[int(rng() ** 2 * len(_MARKS))]
            code, code2 = (487, 0) if marks is _SILENT else _draw_end(rng())
            talk = 20 + int(rng() * 400) if (code, code2) == (200, 200) else 0
            current = dict(zip(("src", "mdm", "cmp"), marks, strict=True))
            one = call(
                number,
                visit_info={"current": {"typ": "utm", **current}},
                status_code=code,
                status2_code=code2,
                phone1=_MANAGERS[int(rng() * len(_MANAGERS))],
                phone2=f"7343000{int(rng() ** 3 * 200):04d}",
                duration_sec=talk + 5 + int(rng() * 40) if talk else 0,
                duration2_sec=talk,
                record_url="https://records.example/1.mp3" if talk and rng() < 0.9 else "",
                attempt=1 + int(rng() ** 3 * 4),
                order_date=None,
            )
            made.append((int((8 + rng() * 13) * 60), one))
        yield day, sorted(made, key=lambda pair: pair[0])


@pytest.fixture(scope="session")
def office(make_database: MakeDatabase) -> Iterator[str]:
    """The URL of the database."""
    with make_database(Template.WAREHOUSE) as url:
        load_all(url, [day_of_minutes(day, calls) for day, calls in _make_calls()], MAIN)
        yield url
