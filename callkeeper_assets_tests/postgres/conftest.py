"""Homes with a database in them, and processes that use it, to be started together and killed."""

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callkeeper_assets.home import project_root
from callkeeper_assets.postgres import EmbeddedPostgres
from callkeeper_assets.postgres.embedded import find_postmaster

# Prints the server's URL, then uses the server until its input is closed.
_USER = """
import sys
import time
from pathlib import Path
from callkeeper_assets.postgres import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1]), sync=False).start(), flush=True)
sys.stdin.read()
"""

User = subprocess.Popen[str]


def is_running(home: Path) -> bool:
    """Whether the home's server takes connections, whoever started it."""
    found = find_postmaster((home / "postgres").resolve() / "data")
    return found is not None and found.is_ready


def kill_server(home: Path, how: int) -> None:
    """End the home's server by a signal; return when it is gone."""
    found = find_postmaster(home / "postgres" / "data")
    assert found is not None
    os.kill(found.pid, how)
    while find_postmaster(home / "postgres" / "data"):
        time.sleep(0.01)


@pytest.fixture(scope="session")
def _template() -> Iterator[Path]:
    """A database made once: that takes a second, copying it a tenth."""
    folder = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / f"template-{uuid.uuid4().hex}"
    with EmbeddedPostgres(folder, sync=False):
        pass
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def made_home(_template: Path, home: Path) -> Path:
    """A CALLKEEPER_HOME with an embedded database that nobody has used yet."""
    subprocess.run(["cp", "-a", str(_template), str(home)], check=True)
    return home


@pytest.fixture
def start_user() -> Iterator[Callable[[Path], User]]:
    """A function that starts a process which uses the server of the given home."""
    users: list[User] = []

    def start(home: Path) -> User:
        user = subprocess.Popen(
            [sys.executable, "-c", _USER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=project_root(),
        )
        users.append(user)
        return user

    yield start
    for user in users:
        user.kill()
        user.communicate()
