"""Days with records that are no calls, from the source to the tables: loaded, counted and named."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from callkeeper_assets.assets.raw_calls import evaluate_times
from callkeeper_assets.callkeeper.windows import compare_local_times
from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.store import LocalTimes, RawStore
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.warehouse.records import LoadedDay
from callkeeper_assets_tests.assets.conftest import FIRST, LAST, Loader
from callkeeper_assets_tests.extent import each_api
from callkeeper_assets_tests.raw.test_store import make_details
from callkeeper_assets_tests.warehouse.raw_days import DAY, rows

DAYS = [str(FIRST + timedelta(days=n)) for n in range(3)]


@each_api
def test_the_other_calls_are_loaded_and_what_is_no_call_is_kept_counted_and_named(
    source: Source, loader: Loader, simulator: RunningSimulator, database: str
) -> None:
    account = simulator.account("moscow")
    whole = account.truth(FIRST, LAST, api=source.api).count
    account.set_answers(unusable=0.15)
    assert loader.load(source).success
    usable = account.truth(FIRST, LAST, api=source.api)
    assert 0 < whole - usable.count < whole / 2
    [(held, ids)] = rows(database, "SELECT count(*), sum(call_id) FROM callkeeper_calls")
    assert (held, ids) == (usable.count, usable.sums["call_id"])
    counts = {
        str(day): values["unusable_records"]
        for day, values in loader.metadata(source, "raw_calls").items()
    }
    assert sum(counts.values()) == whole - usable.count
    checks = loader.checks(source, "callkeeper_calls", "records_usable")
    assert loader.current_days(source, "callkeeper_calls", "records_usable") == DAYS
    for day, evaluation in checks.items():
        assert evaluation.passed == (counts[str(day)] == 0)
        assert evaluation.severity.name == "WARN"
        if not evaluation.passed:
            assert f"{counts[str(day)]} records cannot be used (" in evaluation.description
            assert f"callkeeper unusable moscow --from {day} --to {day}" in evaluation.description
            assert sum(evaluation.metadata["reasons"].value.values()) == counts[str(day)]
    for name in ("count_equals_raw", "keys_unique"):
        assert all(
            one.passed for one in loader.checks(source, "callkeeper_calls", name).values()
        ), name


def test_a_record_that_is_mended_at_the_source_is_a_call_and_named_no_more(
    source: Source, loader: Loader, simulator: RunningSimulator
) -> None:
    simulator.account("moscow").set_answers(unusable=0.15)
    assert loader.load(source).success
    simulator.account("moscow").set_answers(unusable=0.0)
    assert loader.load(source).success
    assert {
        values["unusable_records"] for values in loader.metadata(source, "raw_calls").values()
    } == {0}
    checks = loader.checks(source, "callkeeper_calls", "records_usable")
    assert all(evaluation.passed for evaluation in checks.values())


def test_reconciliation_does_not_miss_them_and_keeps_them(
    source: Source, loader: Loader, simulator: RunningSimulator, raw_store: RawStore
) -> None:
    simulator.account("moscow").set_answers(unusable=0.15)
    assert loader.load(source).success
    before = [raw_store.read_unusable(source.name, FIRST + timedelta(days=n)) for n in range(3)]
    assert any(before)
    assert loader.reconcile(source).success
    assert [
        raw_store.read_unusable(source.name, FIRST + timedelta(days=n)) for n in range(3)
    ] == before
    for name in ("missing_in_warehouse", "missing_in_source"):
        found = loader.checks(source, "reconciliation", name)
        assert all(evaluation.passed for evaluation in found.values()), name


@pytest.fixture
def raw_store(database: str) -> RawStore:
    """Where the loads of this test keep raw calls."""
    from callkeeper_assets.home import raw_url  # noqa: PLC0415 -- after the home is set

    assert database
    return RawStore(raw_url())


def test_calls_without_call_time_are_on_the_day_that_their_clients_clock_tells(
    source: Source, loader: Loader, simulator: RunningSimulator, database: str
) -> None:
    migrated = replace(source, api="ckct", base_url=simulator.base_urls["ckct"])
    account = simulator.account("moscow")
    account.set_answers(without_call_time=0.4)
    assert loader.load(migrated).success
    truth = account.truth(FIRST, LAST, api="ckct").calls
    held = rows(database, "SELECT call_id, called_at FROM callkeeper_calls ORDER BY call_id")
    assert held == sorted((one["call_id"], one["called_at"]) for one in truth)
    for name in ("records_usable", "times_agree"):
        checks = loader.checks(migrated, "callkeeper_calls", name)
        assert sorted(map(str, checks)) == DAYS
        assert all(evaluation.passed for evaluation in checks.values())


def _call(epoch: int, hours: float, offset: str = "+0300", ahead_sec: int = 10_800) -> bytes:
    """A call whose callTime is so many hours ahead of what its client's clock tells."""
    moment, local = (datetime.fromtimestamp(one, UTC) for one in (epoch, epoch + ahead_sec))
    shown = moment + timedelta(hours=hours)
    return (
        f'{{"callTime":"{shown:%Y-%m-%d %H:%M:%S}","localDate":"{local:%Y-%m-%d %H:%M:%S}",'
        f'"timezoneOffset":"{offset}"}}'
    ).encode()


def test_a_clock_that_is_not_utc_is_found_and_how_far_it_is() -> None:
    epochs = [1_767_600_000 + 60 * n for n in range(1000)]
    ahead = [_call(epoch, 3) for epoch in epochs]
    found = compare_local_times([epoch + 10_800 for epoch in epochs], ahead)
    assert found is not None
    assert (found.compared, found.differing, found.difference_sec) == (200, 200, 10_800)
    right = compare_local_times(epochs, [_call(epoch, 0) for epoch in epochs])
    assert right is not None
    assert (right.compared, right.differing, right.difference_sec) == (200, 0, 0)


def test_offsets_that_no_clock_has_and_seconds_of_delay_are_no_disagreement() -> None:
    epochs = [1_767_600_000 + 60 * n for n in range(10)]
    assert compare_local_times(epochs, [_call(one, 0, "+0020", 7200) for one in epochs]) is None
    assert compare_local_times(epochs, [b"{}"] * 10) is None
    assert compare_local_times([], []) is None
    late = compare_local_times([one + 80 for one in epochs], [_call(one, 0) for one in epochs])
    assert late is not None
    assert late.differing == 0


@pytest.mark.parametrize(("differing", "passed"), [(0, True), (50, True), (51, False)])
def test_only_a_day_on_which_most_disagree_is_warned_of(differing: int, *, passed: bool) -> None:
    times = LocalTimes(compared=100, differing=differing, difference_sec=10_800)
    details = msgspec.structs.replace(make_details(), local_times=times)
    verdict = evaluate_times(LoadedDay(DAY, 100, {}, {}, 0, ()), details)
    assert verdict.passed == passed
    assert verdict.severity.name == "WARN"
    if not passed:
        assert "Of 100 calls of 2026-03-02 that were compared, 51 have" in str(verdict.description)
        assert "mostly by +3.00 h" in str(verdict.description)
