"""What raw calls ask of an object store, where each request takes a while."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial

import msgspec
import pytest

from callkeeper_assets.raw.place import StoreError
from callkeeper_assets.raw.store import Day, DayDetails, RawStore, build_calls, store_days
from callkeeper_assets_tests.workers.object_store import REFUSED, ObjectStore, run_object_store

_SOURCE = "moscow"
_DAYS = [date(2026, 1, 1) + timedelta(number) for number in range(62)]
_NOW = datetime(2026, 3, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def running() -> Iterator[ObjectStore]:
    """One for all tests: s3fs keeps file systems, with the address that they began with."""
    with run_object_store(0.02) as store:
        yield store


@pytest.fixture
def objects(running: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An object store that takes 20 ms for each request, and is empty of the source's days."""
    for name, value in running.variables.items():
        monkeypatch.setenv(name, value)
    store = RawStore(running.url)
    store.delete_all(store.measure_old(_SOURCE, date.max))
    running.take_counts()
    return running


def make_day(day: date, source: str = _SOURCE) -> Day:
    """Return a day of three calls."""
    moment = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp())
    details = DayDetails(
        source=source,
        day=day,
        time_zone="UTC",
        window_from=_NOW,
        window_to=_NOW,
        requests=1,
        fetched_at=_NOW,
        run_id="run",
    )
    return Day(day, build_calls([1, 2, 3], [moment] * 3, [b"{}"] * 3), details)


def test_a_day_takes_two_requests_and_a_thousand_are_deleted_by_one(objects: ObjectStore) -> None:
    """Without a look for each day and what may lie beside it; lists are a few for all of them."""
    store = RawStore(objects.url).knowing(_SOURCE, _DAYS)
    found = [read() for _, read in store.ahead(partial(store.look_up, _SOURCE), _DAYS)]
    assert found == [None] * len(_DAYS)
    assert len(list(store_days(store, map(make_day, _DAYS)))) == len(_DAYS)
    reading = RawStore(objects.url).knowing(_SOURCE, _DAYS)
    for day, read in reading.ahead(partial(reading.read, _SOURCE), _DAYS):
        assert reading.read_details(_SOURCE, day, "refused") is None
        assert (read().day, len(read())) == (day, 3)
    counts = objects.take_counts()
    assert {name: counts[name] for name in ("GET", "PUT")} == {"GET": 62, "PUT": 62}
    assert sum(counts.values()) <= 2 * len(_DAYS) + 4

    old = reading.measure_old(_SOURCE, _DAYS[-1])
    assert len(old) == len(_DAYS) - 1
    reading.delete_all(old)
    assert reading.list_days(_SOURCE) == {_DAYS[-1]}
    counts = objects.take_counts()
    assert (counts["POST"], counts.get("DELETE", 0)) == (1, 0)


def test_what_the_store_refuses_to_delete_is_an_error(objects: ObjectStore) -> None:
    """S3 says so in an answer of 200, which its client's `rm` does not read."""
    store = RawStore(objects.url)
    list(store_days(store, [make_day(_DAYS[0], REFUSED)]))
    with pytest.raises(StoreError, match="Access Denied"):
        store.delete_all(store.measure_old(REFUSED, _DAYS[1]))


def test_a_day_that_lost_calls_is_kept_beside_until_it_has_them(objects: ObjectStore) -> None:
    """As in a folder: what is known of the store follows what is written to it."""
    day = _DAYS[0]
    store = RawStore(objects.url).knowing(_SOURCE, [day])
    for lost in (0, 1, 1):
        stored = make_day(day)
        details = msgspec.structs.replace(stored.details, lost=lost)
        store.write(stored.calls, details)
    assert store.list_days(_SOURCE, "replaced") == {day}
    kept = store.read_details(_SOURCE, day, "replaced")
    assert kept is not None
    assert kept.lost == 0
    stored = make_day(day)
    store.write(stored.calls, stored.details)
    assert store.list_days(_SOURCE, "replaced") == set()
