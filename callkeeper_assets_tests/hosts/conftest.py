"""One simulator with two accounts for all projects of others, and their names' keys."""

from collections.abc import Iterator

import pytest

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.hosts.host import CALLS_PER_DAY, SOURCES

KEYS = {"main_office": "0123456789abcdef0123456789abcdef", "shop": "fedcba9876543210" * 2}


@pytest.fixture(scope="session")
def accounts() -> Iterator[RunningSimulator]:
    """CallKeeper with both accounts."""
    settings = [
        AccountSettings(key=KEYS[name], name=name, calls_per_day=CALLS_PER_DAY, rhythm="flat")
        for name in SOURCES
    ]
    with run_simulator(settings) as simulator:
        yield simulator


@pytest.fixture
def keys() -> dict[str, str]:
    """The variables of both keys."""
    return {f"{name.upper()}_KEY": key for name, key in KEYS.items()}
