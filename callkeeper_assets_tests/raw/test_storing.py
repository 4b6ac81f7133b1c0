"""Days are stored while others are fetched; no failure is lost."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from callkeeper_assets.postgres import connect
from callkeeper_assets.postgres.errors import LockLostError
from callkeeper_assets.postgres.locks import held_source_lock
from callkeeper_assets.raw.place import StoreError
from callkeeper_assets.raw.store import Day, DayDetails, RawStore, build_calls, store_days
from callkeeper_assets_tests.raw.stored import stored_ids

DAYS = tuple(date(2026, 1, number) for number in range(1, 11))


@pytest.fixture
def store(tmp_path: Path) -> RawStore:
    """An empty store."""
    return RawStore(str(tmp_path))


def make_day(day: date, refusal: str = "") -> Day:
    """A fetched day with one call, whose id is the day's number."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    details = DayDetails(
        source="moscow",
        day=day,
        time_zone="UTC",
        window_from=start,
        window_to=start,
        requests=1,
        fetched_at=start,
        run_id="run",
        refusal=refusal,
    )
    return Day(day, build_calls([day.day], [int(start.timestamp())], [b"{}"]), details)


def test_each_day_is_stored_and_a_refused_one_beside_its_day(store: RawStore) -> None:
    days = [make_day(day, "too few" if day == DAYS[4] else "") for day in DAYS]
    assert list(store_days(store, days)) == days
    stored = {day: stored_ids(store, "moscow", day) for day in DAYS}
    assert stored == {day: set() if day == DAYS[4] else {day.day} for day in DAYS}
    refused = store.read_details("moscow", DAYS[4], "refused")
    assert refused is not None
    assert refused.refusal == "too few"


def test_no_day_is_stored_once_the_lock_that_keeps_forget_waiting_is_gone(
    store: RawStore, database: str
) -> None:
    """`forget` goes on at that moment, and the next day may bring the person back."""

    def fetch() -> Iterator[Day]:
        for day in DAYS:
            if day == DAYS[4]:
                with connect(database, autocommit=True) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE database = "
                        "(SELECT oid FROM pg_database WHERE datname = current_database()) "
                        "AND locktype = 'advisory'"
                    )
            yield make_day(day)

    with (
        pytest.raises(LockLostError, match="The lock of source 'moscow' has gone"),
        held_source_lock(database, "moscow"),
    ):
        list(store_days(store, fetch()))
    assert not [day for day in DAYS[4:] if day in store.list_days("moscow")]


def test_a_day_that_cannot_be_stored_fails_the_step_after_the_days_before_it(
    store: RawStore, tmp_path: Path
) -> None:
    (tmp_path / "moscow").mkdir()
    (tmp_path / "moscow" / "2027").write_text("in the way of the folder")
    newer = [day.replace(year=2027) for day in DAYS]
    handed: list[date] = []

    def fetch() -> Iterator[Day]:
        for day in [*DAYS[:5], *newer]:
            handed.append(day)
            yield make_day(day)

    with pytest.raises(StoreError, match=r"could not be written: .*2027-01-01.*CALLKEEPER_RAW_URL"):
        list(store_days(store, fetch()))
    assert [stored_ids(store, "moscow", day) for day in DAYS[:5]] == [{1}, {2}, {3}, {4}, {5}]
    assert len(handed) < 10  # it does not go on fetching


def test_days_that_are_being_stored_when_the_source_fails_are_stored(store: RawStore) -> None:
    def fetch() -> Iterator[Day]:
        yield from map(make_day, DAYS)
        raise ConnectionError("the source went away")

    with pytest.raises(ConnectionError, match="the source went away"):
        list(store_days(store, fetch()))
    assert all(stored_ids(store, "moscow", day) for day in DAYS)
