"""A source that does not heed what it is asked for: no day of it is stored, and each step says so.

Reconciliation asks by the same client: it must not find that nothing differs.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import pytest

from callkeeper_assets.config.source import Source
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.assets.conftest import FIRST, KEY, LAST, Loader, describe_failure
from callkeeper_assets_tests.extent import IS_LONG

_NOW = datetime(2026, 3, 1, tzinfo=UTC)
Count = Callable[[str], int]


_IGNORED = ({"bounds": "ignored"}, "does not heed the dates that it is asked for")
_ZONE = ({"bounds_zone": "Europe/Moscow"}, "as if the bounds were read in Europe/Moscow")


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account, of which an answer to no question has not years of calls."""
    account = AccountSettings(
        key=KEY, name="moscow", calls_per_day=60, rhythm="flat", first_day=date(2025, 12, 20)
    )
    with run_simulator([account]) as running:
        yield running


# What each API says of each misreading is tested at the client: callkeeper/test_strays.py.
@pytest.mark.parametrize(
    ("api", "switches", "said"),
    [
        pytest.param("callkeeper", *_IGNORED, id="ignored-callkeeper"),
        pytest.param("ckct", *_ZONE, id="zone-ckct"),
        *((("callkeeper", *_ZONE), ("ckct", *_IGNORED)) if IS_LONG else ()),
    ],
)
def test_a_load_and_a_reconciliation_fail_with_the_same_words_and_change_nothing(
    simulator: RunningSimulator,
    source: Source,
    loader: Loader,
    count: Count,
    *,
    switches: dict[str, str],
    said: str,
) -> None:
    simulator.clock.set(_NOW)
    account = simulator.account("moscow")
    assert loader.load(source).success
    stored = count("callkeeper_calls")
    account.set_answers(**switches)
    results = (
        loader.load(source),
        loader.load(source, force=True),
        loader.reconcile(source),
        loader.reconcile(source, dry_run=True),
    )
    for result in results:
        assert not result.success
        assert said in describe_failure(result)
    assert count("callkeeper_calls") == stored == 180
    assert count("callkeeper_discrepancies") == 0
    account.set_answers(bounds="heeded", bounds_zone="")
    assert loader.reconcile(source).success


def test_an_empty_month_is_not_green_where_the_dates_are_ignored(
    simulator: RunningSimulator, source: Source, loader: Loader, count: Count
) -> None:
    simulator.clock.set(_NOW)
    simulator.account("moscow").set_answers(bounds="ignored", silent_cap=40)
    assert not loader.load(source, FIRST, LAST).success
    assert count("callkeeper_days") == 0
