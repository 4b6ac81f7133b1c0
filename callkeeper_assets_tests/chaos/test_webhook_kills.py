"""Kill -9 of the receiver, of the database's server and of both while webhooks come in.

Every payload answered with 200 is in the inbox afterwards, and each of its comings is counted once.
"""

import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from callkeeper_assets.postgres import EmbeddedPostgres
from callkeeper_assets_tests.chaos.embedded_server import kill_server
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.webhooks.installation import Installation, Receiver
from callkeeper_assets_tests.webhooks.posting import Posting

_VICTIMS: Final = ("receiver", "server", "both")
_SENDERS: Final = 4
# 200 posts a second.
_PAUSE_SEC: Final = 0.02


@pytest.fixture
def installation() -> Iterator[Installation]:
    """One with the embedded database, which the receiver itself starts again."""
    home = Path(os.environ["CALLKEEPER_TESTS_FOLDER"]) / uuid.uuid4().hex
    home.mkdir()
    # Made beforehand: the first start takes seconds.
    with EmbeddedPostgres(home, sync=False):
        yield Installation(home, "")


def _wait_for_peace(receiver: Receiver) -> None:
    def is_calm() -> bool:
        health = receiver.health().document
        return bool(health["database"] == "reachable" and health["spooled"] == 0)

    wait_until(is_calm, "all is in the inbox", 120)


class _Ward:
    """The receiver that runs now, at a port that stays."""

    def __init__(self, installation: Installation, stack: ExitStack) -> None:
        self._start: Callable[[int], Receiver] = lambda port: stack.enter_context(
            installation.receiving(port=port, has_database=False)
        )
        self.receiver = self._start(0)

    def replace(self) -> None:
        """Kill it, and start another."""
        self.receiver.kill()
        self.receiver = self._start(self.receiver.port)


def _post_and_kill(installation: Installation, posts: int, kills: int, seed: str) -> None:
    moments = random.Random(seed)  # noqa: S311 -- not a secret
    with ExitStack() as stack:
        ward = _Ward(installation, stack)
        port = ward.receiver.port
        with Posting(lambda: port, senders=_SENDERS, pause_sec=_PAUSE_SEC) as posting:
            for number in range(kills):
                time.sleep(moments.uniform(0.0, 1.0))
                victim = _VICTIMS[number % len(_VICTIMS)]
                if victim != "receiver":
                    # Whoever needs it starts it again, in their own time.
                    wait_until(lambda: kill_server(installation.home), "a server is killed")
                if victim != "server":
                    ward.replace()
            # Those that were refused while a receiver began are no work done.
            wait_until(lambda: posting.count()[200] >= posts, f"{posts} posts are accepted", 600)
        _wait_for_peace(ward.receiver)
        server = EmbeddedPostgres(installation.home)
        with server:
            found = Installation(installation.home, server.start()).read_inbox()
    counts = posting.count()
    assert set(counts) <= {200, None}
    assert counts[None] > 0, "no kill has hit a request"
    posting.check(found)
    logs = "".join(log.read_text() for log in installation.home.glob("receiver-*.log"))
    assert "The database is away: " in logs
    assert "Traceback" not in logs


@pytest.mark.timeout(600)
def test_a_kill_of_each_loses_and_doubles_nothing(installation: Installation) -> None:
    _post_and_kill(installation, posts=300, kills=len(_VICTIMS), seed="three")


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_and_double_nothing(installation: Installation) -> None:
    _post_and_kill(installation, posts=10_000, kills=100, seed="a hundred")
