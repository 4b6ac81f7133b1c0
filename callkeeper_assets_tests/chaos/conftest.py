"""One simulated account and one installation for all tests of a module; each test changes facts.

The long forms (marker `chaos`) are `make chaos`'s; see `callkeeper_assets_tests/extent.py`.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from callkeeper_assets.simulator.server import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.chaos.rounds import FIRST, LAST, Round, begin_round
from callkeeper_assets_tests.templates import MakeDatabase, Template


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    """CallKeeper with one account: 12 calls every day."""
    account = AccountSettings(key=KEY, name=SOURCE, calls_per_day=12, rhythm="flat")
    with run_simulator([account]) as running:
        yield running


@pytest.fixture(scope="module")
def installation(
    simulator: RunningSimulator, make_database: MakeDatabase
) -> Iterator[Installation]:
    """An installation with the account as its source, and a database of its own."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / uuid.uuid4().hex
    with make_database(Template.INSTALLATION) as url:
        made = Installation(home=folder / "home", defs=folder / "defs", database=url)
        made.add_source(simulator.base_url)
        yield made


@pytest.fixture(scope="module")
def loaded(installation: Installation, simulator: RunningSimulator) -> Installation:
    """The installation with all days loaded once."""
    assert simulator.base_url
    ended = installation.load(FIRST, LAST)
    assert ended.code == 0, ended
    return installation


@pytest.fixture
def round_(loaded: Installation, simulator: RunningSimulator) -> Round:
    """A round whose old facts are loaded."""
    return begin_round(loaded, simulator)
