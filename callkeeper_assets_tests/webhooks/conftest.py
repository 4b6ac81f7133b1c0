"""Installations: one for each test, or one for all tests of a module that leave it as it was."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from callkeeper_assets_tests.templates import MakeDatabase, Template
from callkeeper_assets_tests.webhooks.installation import Installation, Receiver


@pytest.fixture(scope="session")
def template() -> Template:
    """Runs that process what came need Dagster's tables, too."""
    return Template.INSTALLATION


def _make(make_database: MakeDatabase, template: Template) -> Iterator[Installation]:
    with make_database(template) as url:
        yield Installation(Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / uuid.uuid4().hex, url)


@pytest.fixture
def installation(make_database: MakeDatabase, template: Template) -> Iterator[Installation]:
    """The test's own."""
    yield from _make(make_database, template)


@pytest.fixture(scope="module")
def shared_installation(make_database: MakeDatabase, template: Template) -> Iterator[Installation]:
    """The module's."""
    yield from _make(make_database, template)


@pytest.fixture(scope="module")
def receiver(shared_installation: Installation) -> Iterator[Receiver]:
    """A receiver on the module's installation."""
    with shared_installation.receiving() as running:
        yield running
