"""Processes that use an embedded PostgreSQL, to be started together and killed."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callkeeper_assets.home import project_root

# Prints the server's URL, then uses the server until its input is closed.
_USER = """
import sys
from pathlib import Path
from callkeeper_assets.database import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1]), sync=False).start(), flush=True)
sys.stdin.read()
"""

User = subprocess.Popen[str]


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
