"""What tests of the whole product share: installations with a database, commands as processes."""

from pathlib import Path

import pytest

from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.templates import Template


@pytest.fixture
def installation(home: Path, database: str) -> Installation:
    """An installation without a source yet, and a new, empty database."""
    return Installation(home=home / "home", defs=home / "defs", database=database)


@pytest.fixture(scope="session")
def template() -> Template:
    """Commands start runs: Dagster's tables are needed, too."""
    return Template.INSTALLATION
