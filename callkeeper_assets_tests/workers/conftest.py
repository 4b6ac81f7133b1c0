"""What tests of several machines share."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from callkeeper_assets.home import set_dagster_home
from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.templates import Template
from callkeeper_assets_tests.workers.machines import Broker, Machines, join


@pytest.fixture(scope="session")
def template() -> Template:
    """Dagster's tables are needed, too."""
    return Template.INSTALLATION


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that runs."""
    made = Broker(tmp_path / "broker")
    made.start()
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account: 10 calls every day."""
    account = AccountSettings(key=KEY, name=SOURCE, calls_per_day=10, rhythm="flat")
    with run_simulator([account]) as running:
        yield running


@pytest.fixture
def machines(home: Path, database: str, broker: Broker, simulator: RunningSimulator) -> Machines:
    """The first machine, with one source."""
    first = Installation(home=home / "first", defs=home / "first.defs", database=database)
    first.add_source(simulator.base_url)
    return join(first, home / "dagster", broker)


@pytest.fixture
def instance(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The instance of all machines."""
    for name, value in machines.first.environment.items():
        monkeypatch.setenv(name, value)
    set_dagster_home()
    with dg.DagsterInstance.get() as made:
        yield made
