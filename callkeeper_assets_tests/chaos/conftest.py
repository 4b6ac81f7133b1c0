"""One simulated account and one installation for all tests of a module; each test changes facts.

The long forms (marker `chaos`) run when this folder is asked for and `SHORT` is not set:
`make chaos`. `make test` and `make chaos SHORT=1` leave them out.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from callkeeper_assets.simulator.running import RunningSimulator, run_simulator
from callkeeper_assets.simulator.settings import AccountSettings
from callkeeper_assets_tests.chaos.installation import KEY, SOURCE, Installation
from callkeeper_assets_tests.chaos.rounds import FIRST, LAST, Round, begin_round
from callkeeper_assets_tests.templates import MakeDatabase, Template


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long forms unless somebody asked for them."""
    here = Path(__file__).parent
    paths = (Path(argument.partition("::")[0]).resolve() for argument in config.args)
    is_asked_for = any(path == here or here in path.parents for path in paths)
    if is_asked_for and not os.environ.get("SHORT"):
        return
    long_forms = [item for item in items if item.get_closest_marker("chaos")]
    config.hook.pytest_deselected(items=long_forms)
    items[:] = [item for item in items if item not in long_forms]


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
