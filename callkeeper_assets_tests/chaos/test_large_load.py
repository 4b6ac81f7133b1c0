"""The promise of the first release: 200,000 calls, exact to the last value and the last row."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from callkeeper_assets.simulator.server import run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.chaos.three_loads import check_three_loads


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_two_accounts_of_100_days_with_1000_calls_are_loaded_exactly(
    installation: Installation,
) -> None:
    first = date(2025, 9, 1)
    accounts = [
        AccountSettings(key=f"{n:032x}", name=name, calls_per_day=1000, rhythm="flat", seed=n)
        for n, name in enumerate(("large_east", "large_west"), start=1)
    ]
    zones = {"large_east": ZoneInfo("Europe/Moscow"), "large_west": ZoneInfo("Europe/Berlin")}
    with run_simulator(accounts) as simulator:
        for one in accounts:
            installation.add_source(
                simulator.base_url, name=one.name, key=one.key, time_zone=zones[one.name].key
            )
        check_three_loads(
            installation, simulator.simulator.accounts, zones, first, first + timedelta(days=99)
        )
