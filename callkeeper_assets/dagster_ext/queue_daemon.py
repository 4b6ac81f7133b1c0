"""When Dagster's daemon looks at its queue of runs.

For its own process alone: others would import the daemon with it, a second's work.
"""

import time
from typing import Any, Final

import dagster as dg
from dagster._core.instance.config import ConcurrencyConfig
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.daemon import DaemonIterator
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)

from callkeeper_assets.dagster_ext.run_queue import RoomyRunCoordinator

_BETWEEN_QUESTIONS_SEC: Final = 0.2
_WORTH_A_LOOK: Final = 2
_LONGEST_REST_SEC: Final = 1.0
_QUEUED: Final = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])


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
            places = coordinator.count_places()
            # Nobody knows, as with workers elsewhere, of whom a run may come back to the queue; or
            # nothing waits, or it waits for something else than room.
            if places is None or (places and not self._starting):
                return
            if not instance.get_runs_count(_QUEUED):
                return
            while not _is_worth_a_look(coordinator.count_places(), looked_at):
                time.sleep(_BETWEEN_QUESTIONS_SEC)
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
