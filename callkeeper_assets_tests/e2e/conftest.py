"""What tests of the whole product share: installations with a database, commands as processes."""

from pathlib import Path

import pytest

from callkeeper_assets_tests.chaos.installation import Installation


@pytest.fixture
def installation(home: Path, database: str) -> Installation:
    """An installation without a source yet, and a new, empty database."""
    return Installation(home=home / "home", defs=home / "defs", database=database)
