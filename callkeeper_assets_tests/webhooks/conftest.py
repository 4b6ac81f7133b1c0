"""Installations: one for each test, or one for all tests of a module that leave it as it was."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from callkeeper_assets.database import EmbeddedPostgres, connect
from callkeeper_assets_tests.webhooks.installation import Installation, Receiver


def _make(server: EmbeddedPostgres) -> Iterator[Installation]:
    url = server.start()
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / uuid.uuid4().hex
    name = f"webhooks_{folder.name}"
    with connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield Installation(folder, f"{url.rpartition('/')[0]}/{name}")
    with connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def installation(postgres_server: EmbeddedPostgres) -> Iterator[Installation]:
    """The test's own."""
    yield from _make(postgres_server)


@pytest.fixture(scope="module")
def shared_installation(postgres_server: EmbeddedPostgres) -> Iterator[Installation]:
    """The module's."""
    yield from _make(postgres_server)


@pytest.fixture(scope="module")
def receiver(shared_installation: Installation) -> Iterator[Receiver]:
    """A receiver on the module's installation."""
    with shared_installation.receiving() as running:
        yield running
