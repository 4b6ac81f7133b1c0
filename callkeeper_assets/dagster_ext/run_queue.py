"""Dagster's queue of runs, which starts as many at once as this machine holds.

`dagster.yaml` names `RoomyRunCoordinator`. How many that are is known to the run server, which has
forked those under way (`worker.run_server`); without one it is the number in the configuration.
The daemon looks at the queue by `PromptQueueDaemon`.
"""

import logging
import time
from contextlib import suppress
from typing import Any, Final

import dagster as dg
from dagster._core.instance.config import ConcurrencyConfig
from dagster._core.run_coordinator.queued_run_coordinator import (
    QueuedRunCoordinator,
    RunQueueConfig,
)
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.daemon import DaemonIterator
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)

from callkeeper_assets.dagster_ext.run_socket import ask_run_server

_LOGGER: Final = logging.getLogger(__name__)
_GOOD_FOR_SEC: Final = 0.2
_WORTH_A_LOOK: Final = 2
_LONGEST_REST_SEC: Final = 1.0
_QUEUED: Final = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])


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
        # Runs ask for it as well, and the web server. Workers take as many as they have places for.
        if not self._is_daemons or getattr(self._instance.run_launcher, "sends_runs_away", False):
            return config
        places = self.count_places()
        if places is None:
            return config
        under_way = self._instance.get_runs_count(dg.RunsFilter(statuses=ACTIVE_RUN_STATUSES))
        return config._replace(max_concurrent_runs=under_way + places)

    def count_places(self) -> int | None:
        """Return how many runs more there is room for; None if nobody knows."""
        now = time.monotonic()
        if now - self._measured_at > _GOOD_FOR_SEC:
            self._places, self._measured_at = _ask_for_places(), now
        return self._places


class PromptQueueDaemon(QueuedRunCoordinatorDaemon):
    """Looks at the queue each second, as Dagster's does, and as soon as there is room for runs.

    Short runs that began together end together: the cores would rest until the second is over.
    """

    _starting = 0

    def run_iteration(
        self,
        workspace_process_context: IWorkspaceProcessContext[Any],
        fixed_iteration_time: float | None = None,
    ) -> DaemonIterator:
        """Start runs, until none waits that this machine has no room for."""
        instance = workspace_process_context.instance
        coordinator = instance.run_coordinator
        while True:
            looked_at = time.monotonic()
            yield from super().run_iteration(workspace_process_context, fixed_iteration_time)
            if not isinstance(coordinator, RoomyRunCoordinator):
                return
            # Nothing waits, or it waits for something else than room.
            is_full = coordinator.count_places() == 0
            if not (self._starting or is_full) or not instance.get_runs_count(_QUEUED):
                return
            while not _is_worth_a_look(coordinator.count_places(), looked_at):
                time.sleep(_GOOD_FOR_SEC)
                yield None

    def _get_runs_to_dequeue(
        self,
        instance: dg.DagsterInstance,
        concurrency_config: ConcurrencyConfig,
        fixed_iteration_time: float | None,
    ) -> list[dg.DagsterRun]:
        runs = super()._get_runs_to_dequeue(instance, concurrency_config, fixed_iteration_time)
        self._starting = len(runs)
        return runs


def _is_worth_a_look(places: int | None, looked_at: float) -> bool:
    """Whether to look at the queue, which is read whole each time."""
    if places is None or places >= _WORTH_A_LOOK:
        return True
    return bool(places) and time.monotonic() > looked_at + _LONGEST_REST_SEC


def _ask_for_places() -> int | None:
    """Return how many runs more there is room for; None if nobody knows."""
    with suppress(OSError):
        answer = ask_run_server({"places": True})
        if answer is not None:
            return int(answer["places"])
    return None
