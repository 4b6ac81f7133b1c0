"""A day that loses calls, yet too few to be refused: it is kept as it was, and told of."""

from datetime import date

import dagster as dg
import pytest

from callkeeper_assets.config.source import Source
from callkeeper_assets.raw.store import RawStore
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets_tests.assets.conftest import FIRST, Loader, describe_failure
from callkeeper_assets_tests.raw.stored import stored_ids

pytestmark = pytest.mark.parametrize("api", ["callkeeper"], indirect=True)
CHECK = "no_calls_lost"
DAY = FIRST.isoformat()


@pytest.fixture
def store(home: object) -> RawStore:
    """Where the runs store raw calls."""
    return RawStore(f"{home}/raw")


def _load(source: Source, loader: Loader, day: date = FIRST, *, force: bool = False) -> bool:
    return loader.load(source, day, day, force=force).success


def test_a_day_that_loses_a_fifth_is_kept_beside_and_reported_by_a_check(
    source: Source, loader: Loader, simulator: RunningSimulator, store: RawStore
) -> None:
    assert _load(source, loader)
    before = stored_ids(store, source.name, FIRST)
    simulator.account("moscow").remove(FIRST, 12)
    assert _load(source, loader)
    assert loader.checks(source, "callkeeper_calls", CHECK)[DAY].passed
    assert store.list_days(source.name, "replaced") == set()

    simulator.account("moscow").remove(FIRST, 3)
    assert _load(source, loader)
    check = loader.checks(source, "callkeeper_calls", CHECK)[DAY]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "15 of 60 calls that the source once sent are gone" in check.description
    assert f"{DAY}.parquet.replaced" in check.description
    assert f"callkeeper load moscow --from {DAY} --to {DAY} --force" in check.description
    assert loader.metadata(source, "raw_calls")[DAY]["lost_calls"] == 15
    kept = store.look_up(source.name, FIRST, "replaced")
    assert kept is not None
    assert len(kept[0]) == 48
    assert kept[0] < before


def test_what_shrinks_little_by_little_is_refused_and_force_ends_it(
    source: Source, loader: Loader, simulator: RunningSimulator, store: RawStore
) -> None:
    account = simulator.account("moscow")
    assert _load(source, loader)
    account.remove(FIRST, 18)
    assert _load(source, loader)
    account.remove(FIRST, 12)
    refused = loader.load(source, FIRST, FIRST)
    assert not refused.success
    assert "30 of 60 calls are gone" in describe_failure(refused)
    assert len(stored_ids(store, source.name, FIRST)) == 42
    kept = store.look_up(source.name, FIRST, "replaced")
    assert kept is not None
    assert len(kept[0]) == 60

    assert _load(source, loader, force=True)
    assert len(stored_ids(store, source.name, FIRST)) == 30
    assert store.list_days(source.name, "replaced") == set()
    assert loader.checks(source, "callkeeper_calls", CHECK)[DAY].passed
    account.remove(FIRST, 5)
    assert _load(source, loader), "a handful of what was forced"


def test_calls_that_others_replace_one_by_one_are_lost_as_well(
    source: Source, loader: Loader, simulator: RunningSimulator, store: RawStore
) -> None:
    """The number stays, the calls do not: their ids count."""
    account = simulator.account("moscow")
    assert _load(source, loader)
    for _ in range(2):
        account.remove(FIRST, 14)
        account.add(FIRST, 14)
        last = loader.load(source, FIRST, FIRST)
    assert not last.success
    assert "calls are gone from what the source sends" in describe_failure(last)
    assert store.list_days(source.name, "replaced") == {FIRST}


def test_calls_that_come_back_clear_what_was_kept(
    source: Source, loader: Loader, simulator: RunningSimulator, store: RawStore
) -> None:
    account = simulator.account("moscow")
    assert _load(source, loader)
    before = store.read(source.name, FIRST).calls
    account.remove(FIRST, 15)
    assert _load(source, loader)
    assert store.list_days(source.name, "replaced") == {FIRST}
    account.add(FIRST, 15)
    assert _load(source, loader)
    # New calls are not the old ones: it takes these to be whole again.
    assert store.list_days(source.name, "replaced") == {FIRST}
    assert before.num_rows == 60
