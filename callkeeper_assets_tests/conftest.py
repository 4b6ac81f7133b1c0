"""What every test gets: an environment of its own, and a real PostgreSQL if it asks for one.

Fixtures: `home` (a new, empty CALLKEEPER_HOME), `postgres_server` (one server for the whole run,
shared by its parallel workers), `database` (a new database with the newest schema and no rows, in
force for the test), `make_database` (as many as a test or a module wants). A schema is made once in
a run: databases are copies of a template; tests of migration and of a first start choose the empty
one, see `template`. Fixtures of one part of the project belong in that part's folder.
"""

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets.local_time import use_newest_rules
from callkeeper_assets.postgres import EmbeddedPostgres
from callkeeper_assets.postgres.embedded import SETTINGS, stop_postmaster
from callkeeper_assets.privacy import redaction
from callkeeper_assets_tests.extent import APIS, IS_LONG
from callkeeper_assets_tests.templates import Databases, MakeDatabase, Template

# Set by the process that starts the run, inherited by its parallel workers.
_RUN_FOLDER = "CALLKEEPER_TESTS_FOLDER"
# A crash of the machine need not leave a test's database whole, and its password may be easy to
# guess: making that hard was half of a connection's processor time.
_TEST_SETTINGS = {
    **SETTINGS,
    "scram_iterations": "1",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
}


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Make the run's folder: pytest's own is closed to the user that root's server runs as."""
    # A shell that starts the tests in the background has them ignore SIGINT; Dagster would do with
    # SIGTERM as with SIGINT, and what it starts could not be ended.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not _is_worker(config):
        folder = Path(tempfile.mkdtemp(prefix="callkeeper-tests-"))
        folder.chmod(0o755)
        os.environ[_RUN_FOLDER] = str(folder)
    # As every process of ours, before it reads a zone.
    use_newest_rules()
    # How long an example takes is the machine's matter; what an example shares with the one before
    # is each test's.
    unhurried = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    settings.register_profile("unhurried", deadline=None, suppress_health_check=unhurried)
    settings.load_profile("unhurried")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long forms unless somebody asked for them."""
    left_out = [] if IS_LONG else [one for one in items if one.get_closest_marker("chaos")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers that tests left, and delete what the run wrote."""
    if _is_worker(config):
        return
    folder = Path(os.environ.pop(_RUN_FOLDER))
    for link in folder.glob("*/postgres"):
        place = link.resolve()
        stop_postmaster(place / "data")
        shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CALLKEEPER_HOME that does not exist yet; every other variable of the project is unset.

    Root's embedded server may enter it, as it may not enter `tmp_path`.
    """
    # What one test registers must not be masked in the next one's texts.
    monkeypatch.setattr(redaction, "_secrets", set())
    monkeypatch.setattr(redaction, "_secret_pattern", None)
    # Set and deleted, so that what a test sets itself is undone after it.
    monkeypatch.setenv("DAGSTER_HOME", "")
    for name in list(os.environ):
        if name == "DAGSTER_HOME" or (name.startswith("CALLKEEPER_") and name != _RUN_FOLDER):
            monkeypatch.delenv(name)
    folder = Path(os.environ[_RUN_FOLDER]) / uuid.uuid4().hex
    monkeypatch.setenv("CALLKEEPER_HOME", str(folder))
    return folder


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> ApiName:
    """CallKeeper's API that the test's source uses."""
    name: ApiName = request.param
    return name


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """The run's server: the first worker that asks starts it, the last one stops it."""
    folder = Path(os.environ[_RUN_FOLDER]) / "server"
    with EmbeddedPostgres(folder, _TEST_SETTINGS, sync=False) as server:
        yield server


@pytest.fixture(scope="session")
def make_database(postgres_server: EmbeddedPostgres) -> MakeDatabase:
    """A function that makes a database like a template, and drops it when its context ends."""
    return Databases(postgres_server.start()).make


@pytest.fixture(scope="session")
def template() -> Template:
    """What `database` holds; a folder or a module whose tests need another has its own fixture.

    A single test that begins before anything is there is marked `@from_nothing`.
    """
    return Template.WAREHOUSE


@pytest.fixture
def database(
    make_database: MakeDatabase, template: Template, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a new database without rows, CALLKEEPER_DATABASE_URL during the test."""
    with make_database(template) as url:
        monkeypatch.setenv("CALLKEEPER_DATABASE_URL", url)
        yield url
