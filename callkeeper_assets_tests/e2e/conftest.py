"""What tests of the whole product share: installations with a database, commands as processes."""

from pathlib import Path
from typing import get_args

import pytest

from callkeeper_assets.api.names import ApiName
from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.templates import Template


@pytest.fixture(params=get_args(ApiName))
def api(request: pytest.FixtureRequest) -> ApiName:
    """Each of CallKeeper's APIs: what they bring must not differ."""
    name: ApiName = request.param
    return name


@pytest.fixture
def installation(home: Path, database: str) -> Installation:
    """An installation without a source yet, and a new, empty database."""
    return Installation(home=home / "home", defs=home / "defs", database=database)


@pytest.fixture(scope="session")
def template() -> Template:
    """Commands start runs: Dagster's tables are needed, too."""
    return Template.INSTALLATION
