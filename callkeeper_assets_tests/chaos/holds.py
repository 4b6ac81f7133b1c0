"""Ways to stop a load's process at a chosen step: it waits for a lock that the test holds.

The lock is one that the step needs and the steps before it do not: a writer's lock on a table lets
readers pass.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from callkeeper_assets_tests.chaos.installation import Installation
from callkeeper_assets_tests.waiting import wait_until

_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND %s = ANY(pg_blocking_pids(pid))
"""
_CUT_OFF = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND %s = ANY(pg_blocking_pids(pid))
"""
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'test'
"""


class Hold:
    """A lock held by a transaction of the test."""

    def __init__(
        self, installation: Installation, connection: "psycopg.Connection[tuple[Any, ...]]"
    ) -> None:
        self._installation = installation
        self._connection = connection
        self._pid = connection.info.backend_pid

    def wait_for_somebody(self) -> None:
        """Wait until another connection waits for the lock."""
        wait_until(
            lambda: self._installation.query(_WAITING, self._pid) != [(0,)],
            "the load's process has come to the step",
        )

    def cut_off_who_waits(self) -> None:
        """End the connections that wait for the lock, as a server does that goes away."""
        self._installation.query(_CUT_OFF, self._pid)

    def release(self) -> None:
        """Let go."""
        self._connection.close()


@contextmanager
def hold(installation: Installation, statement: str) -> Iterator[Hold]:
    """Hold the lock that a statement takes, inside the block or until it is released."""
    with installation.connect() as connection:
        held = Hold(installation, connection)
        connection.execute("BEGIN")
        connection.execute(statement)
        try:
            yield held
        finally:
            held.release()


def wait_for_servers_end_of_it(installation: Installation, seconds: float = 60.0) -> None:
    """Wait until the server has noticed that its clients are dead, and undone what they did."""
    wait_until(
        lambda: installation.query(_OTHERS) == [(0,)], "the server has dropped the dead", seconds
    )
