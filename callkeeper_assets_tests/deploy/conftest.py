"""Where the files of a deployment are, and what tests of them share."""

from pathlib import Path
from typing import Final

import pytest

from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.templates import Template

DEPLOY: Final = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def installation(home: Path, database: str) -> Installation:
    """An installation without a source yet, and a new, empty database."""
    return Installation(home=home / "home", defs=home / "defs", database=database)


@pytest.fixture(scope="session")
def template() -> Template:
    """Dagster's tables are not there yet: who comes first makes them."""
    return Template.EMPTY
