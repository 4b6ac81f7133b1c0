"""Dagster's queue of runs, which starts as many at once as this machine holds.

`dagster.yaml` names `RoomyRunCoordinator`. How many that are is known to the run server, which has
forked those under way (`worker.run_server`); without one it is the number in the configuration.
When the queue is looked at is the daemon's matter (`queue_daemon`).
"""

import logging
import time
from contextlib import suppress
from typing import Final

import dagster as dg
from dagster._core.run_coordinator.queued_run_coordinator import (
    QueuedRunCoordinator,
    RunQueueConfig,
)
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES

from callkeeper_assets.dagster_ext.run_socket import ask_run_server

_LOGGER: Final = logging.getLogger(__name__)
_GOOD_FOR_SEC: Final = 0.2


class RoomyRunCoordinator(QueuedRunCoordinator[dg.DagsterInstance]):
    """Queues runs as Dagster does; how many are under way at most is measured at each look.

    Dagster asks for its queue's configuration each time that it looks for runs to start.
    """

    _is_daemons = False
    _measured_at = 0.0
    _places: int | None = None

    @property
    def dequeue_interval_seconds(self) -> int:
        """Return how often the queue is looked at, which is for its daemon alone to know."""
        self._is_daemons = True
        return super().dequeue_interval_seconds

    def get_run_queue_config(self) -> RunQueueConfig:
        """Return the configuration, with the number of runs that there is room for now."""
        config = super().get_run_queue_config()
        # Runs ask for it as well, and the web server.
        places = self.count_places() if self._is_daemons else None
        if places is None:
            return config
        under_way = self._instance.get_runs_count(dg.RunsFilter(statuses=ACTIVE_RUN_STATUSES))
        return config._replace(max_concurrent_runs=under_way + places)

    def count_places(self) -> int | None:
        """Return how many runs more there is room for here; None if nobody knows."""
        # Workers take as many as they have places for.
        if getattr(self._instance.run_launcher, "sends_runs_away", False):
            return None
        now = time.monotonic()
        if now - self._measured_at > _GOOD_FOR_SEC:
            self._places, self._measured_at = _ask_for_places(), now
        return self._places


def _ask_for_places() -> int | None:
    """Return how many runs more there is room for; None if nobody knows."""
    with suppress(OSError):
        answer = ask_run_server({"places": True})
        if answer is not None:
            return int(answer["places"])
    return None
