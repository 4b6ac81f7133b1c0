"""The wheel of this checkout, as it would be published."""

from pathlib import Path

import pytest

from callkeeper_assets_tests.release.environments import ROOT, build


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of this checkout."""
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))
