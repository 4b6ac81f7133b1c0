"""Two calls with one hash as their id: told, and never one in silence.

The space of hashes is one number here; in truth there are 4e15.
"""

import json
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from callkeeper_assets.raw import ids
from callkeeper_assets.raw.store import Day, build_calls
from callkeeper_assets.warehouse.queries import read_history
from callkeeper_assets.warehouse.records import Collision, LoadedDay
from callkeeper_assets_tests.callkeeper.keying import key_payloads
from callkeeper_assets_tests.warehouse.raw_days import DAY, MAIN, MOSCOW, load_all, moment_of, rows

NEXT = DAY + timedelta(days=1)
FIRST_ID = ids.HASHED_IDS


@pytest.fixture
def _one_hash() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_HASHES", 1)
        yield


def _day(day: date, *universal_ids: object, service: str = "import", own: int = 0) -> Day:
    """A day of the unified API, as a load stores it: one call a minute."""
    payloads = [
        json.dumps(
            {
                "serviceType": service,
                "universalId": one,
                "cbCallId": own,
                "callTime": f"{moment_of(day, minute):%Y-%m-%d %H:%M:%S}",
            }
        ).encode()
        for minute, one in enumerate(universal_ids)
    ]
    found = key_payloads("ckct", payloads)
    calls = sorted((epoch, call_id, bytes(raw)) for call_id, (epoch, raw) in found.items())
    table = build_calls([one[1] for one in calls], [one[0] for one in calls], [c[2] for c in calls])
    return Day(day, table)


def _held(url: str) -> list[tuple[object, ...]]:
    return rows(url, "SELECT call_id, universal_id FROM callkeeper_calls ORDER BY universal_id")


def _collisions(loaded: list[LoadedDay]) -> list[tuple[Collision, ...]]:
    return [day.collisions for day in loaded]


@pytest.mark.usefixtures("_one_hash")
def test_a_call_whose_id_the_warehouse_holds_for_another_is_left_out_and_reported(
    database: str,
) -> None:
    assert _collisions(load_all(database, [_day(DAY, "12000000000000345")])) == [()]
    [loaded] = load_all(database, [_day(NEXT, "22000000000000345")])
    assert loaded.collisions == (
        Collision(FIRST_ID, "22000000000000345", held_by="12000000000000345"),
    )
    assert _held(database) == [(FIRST_ID, "12000000000000345")]
    assert rows(database, "SELECT called_at FROM callkeeper_calls") == [(moment_of(DAY, 0),)]
    # Again, in both orders: nothing changes.
    load_all(database, [_day(NEXT, "22000000000000345")])
    load_all(database, [_day(DAY, "12000000000000345")])
    assert _held(database) == [(FIRST_ID, "12000000000000345")]


@pytest.mark.usefixtures("_one_hash")
def test_of_two_days_that_are_loaded_together_the_lesser_universal_id_keeps_it(
    database: str,
) -> None:
    days = [_day(DAY, "22000000000000345"), _day(NEXT, "9000000000000345")]
    loaded = load_all(database, days)
    assert _collisions(loaded) == [
        (Collision(FIRST_ID, "22000000000000345", held_by="9000000000000345"),),
        (),
    ]
    assert _held(database) == [(FIRST_ID, "9000000000000345")]


@pytest.mark.usefixtures("_one_hash")
def test_the_same_call_that_moved_or_is_spelt_otherwise_is_no_collision(database: str) -> None:
    load_all(database, [_day(DAY, "12000000000000345")])
    for spelling in (12000000000000345, " 12000000000000345", "0012000000000000345"):
        [loaded] = load_all(database, [_day(NEXT, spelling)])
        assert loaded.collisions == ()
    assert rows(database, "SELECT called_at FROM callkeeper_calls") == [(moment_of(NEXT, 0),)]


def test_a_callback_may_change_its_universal_id(database: str) -> None:
    load_all(database, [_day(DAY, "12000000000000345", service="callback", own=7)])
    [loaded] = load_all(database, [_day(DAY, "22000000000000345", service="callback", own=7)])
    assert loaded.collisions == ()
    assert _held(database) == [(7, "22000000000000345")]


def test_two_imports_whose_ids_end_alike_are_two_rows(database: str) -> None:
    [loaded] = load_all(database, [_day(DAY, "12000000000000345", "22000000000000345")])
    assert loaded.raw_calls == 2
    assert len({call_id for call_id, _ in _held(database)}) == 2


def test_history_finds_a_call_by_its_universal_id(database: str) -> None:
    load_all(database, [_day(DAY, "12000000000000345"), _day(NEXT, 23423423434434234567)])
    for number in (12000000000000345, 12000000000000345):
        found = read_history(database, MAIN.name, MOSCOW, number)
        assert found is not None
        assert found.call_id == ids.hash_universal_id(str(number))
        assert found.present is not None
    assert read_history(database, MAIN.name, MOSCOW, 99 * 10**30) is None
