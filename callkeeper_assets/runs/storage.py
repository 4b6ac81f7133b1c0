"""Dagster's storage of runs, which every change of a run's status passes, in whichever process.

A run's process takes the run's lock before it says that it has started, and holds it to the end, so
that a run under way without its lock is dead; and the end frees the run's keys.
"""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Final

import dagster as dg
from dagster_postgres import PostgresRunStorage

from callkeeper_assets.runs.burial import build_rerun_tags
from callkeeper_assets.runs.lock import held_run_lock, is_run_gone, tried_run_lock_alone

_ENDS: Final = {
    dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_CANCELED,
}
_UNDER_WAY: Final = {dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED}
# The server's, to notice that a process which was killed this moment has gone.
_PATIENCE_SEC: Final = 2.0


class RunEndedError(RuntimeError):
    """A run was marked as ended before its process came to start it."""


class LockingRunStorage(PostgresRunStorage):
    """The runs; a process that starts one here holds its lock."""

    def __init__(self, postgres_url: str, url: str, free_keys: Callable[[str], None]) -> None:
        """Open the storage, whose tables are there.

        Args:
            postgres_url: Of Dagster's tables.
            url: Of the database, for locks.
            free_keys: Frees what a run holds of its pools.
        """
        self._url = url
        self._free_keys = free_keys
        self._holds: dict[str, ExitStack] = {}
        super().__init__(postgres_url, should_autocreate_tables=False)

    def handle_run_event(
        self, run_id: str, event: dg.DagsterEvent, update_timestamp: datetime | None = None
    ) -> None:
        """Change a run's status by an event.

        Raises:
            RunEndedError: It says that the run has started, and the run has ended.
        """
        if event.event_type == dg.DagsterEventType.RUN_START:
            self._hold(run_id)
        super().handle_run_event(run_id, event, update_timestamp)
        # Not before: a run without its lock must not look like one that is under way.
        if event.event_type in _ENDS:
            self._let_go(run_id)

    def expect_failure(self, run_id: str) -> None:
        """Mark a run as lost if it is to fail and its own process cannot be who says so.

        Dagster's code server notices that a process it started was killed, and its daemon that one
        never started. To be called before the failure is stored: who runs lost runs again reads it.
        """
        if run_id in self._holds:
            return
        run = self._get_run_by_id(run_id)
        # Who is cancelled, or stopped since it took too long, is not lost.
        if run is None or run.status not in _UNDER_WAY:
            return
        tags = build_rerun_tags(run)
        if tags and is_run_gone(self._url, run_id, _PATIENCE_SEC):
            self.add_run_tags(run_id, tags)

    def _hold(self, run_id: str) -> None:
        with ExitStack() as hold:
            hold.enter_context(held_run_lock(self._url, run_id))
            run = self._get_run_by_id(run_id)
            if run is not None and run.is_finished:
                raise RunEndedError(
                    f"Run {run_id} was marked as {run.status.value} before its process had "
                    "started. Nothing was done; if it was lost, it is run again."
                )
            self._holds[run_id] = hold.pop_all()

    def _let_go(self, run_id: str) -> None:
        hold = self._holds.pop(run_id, None)
        if hold is not None:
            with hold:
                self._free_keys(run_id)
            return
        # Somebody else ended it. While its process lives it may use its keys: the janitor looks.
        with tried_run_lock_alone(self._url, run_id) as is_gone:
            if is_gone:
                self._free_keys(run_id)
