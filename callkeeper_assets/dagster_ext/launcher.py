"""Dagster's run launcher of this product: a run is a fork of a process that has all imported.

`dagster.yaml` names `ForkingRunLauncher`. The process that is forked is `worker.run_server`, which
`callkeeper dev` keeps alive; where none answers, a run gets a new process from the code server, as
Dagster launches runs by default.

A run's tag names its process and when that began: whoever has the database can say whether it
lives, and stop it, also after the run server was started anew.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import dagster as dg
import psutil
from dagster._core.errors import DagsterLaunchFailedError
from dagster._core.instance import InstanceRef
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import deserialize_value, serialize_value

from callkeeper_assets.dagster_ext.dead_runs import (
    GONE,
    build_handover_tags,
    build_rerun_tags,
    report_gone,
)
from callkeeper_assets.dagster_ext.run_socket import ask_run_server
from callkeeper_assets.home import home
from callkeeper_assets.language import follow_environment
from callkeeper_assets.postgres.keeping import kept_connection
from callkeeper_assets.postgres.locks import claimed_run, is_run_gone
from callkeeper_assets.postgres.url import database_url

# host, process and the second it began, with a space between.
PROCESS_TAG: Final = "callkeeper/process"

# The database's, to notice that a process has ended.
_GONE_PATIENCE_SEC: Final = 5.0
# Between a run's launch and its process's first words.
_UNTIL_NAMED_SEC: Final = 3.0
_BETWEEN_LOOKS_SEC: Final = 0.1


def name_process(number: int) -> str:
    """Return what the tag says of a living process of this machine."""
    return f"{socket.gethostname()} {number} {psutil.Process(number).create_time():.2f}"


def find_process(run: dg.DagsterRun) -> psutil.Process | None:
    """Return the process of a run of this machine; None if it has ended."""
    host, number, began = run.tags[PROCESS_TAG].rsplit(" ", 2)
    if host != socket.gethostname():
        return None
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(number))
        is_same = f"{process.create_time():.2f}" == began
        if is_same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _is_elsewhere(run: dg.DagsterRun) -> bool:
    return run.tags[PROCESS_TAG].rsplit(" ", 2)[0] != socket.gethostname()


def refer_to(instance: dg.DagsterInstance) -> str:
    """Return by what a run's process finds an instance."""
    return serialize_value(instance.get_ref())


def _open_instance(reference: str) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_ref(deserialize_value(reference, InstanceRef))


def execute_run(run_id: str, reference: str, warm: dg.DagsterInstance | None = None) -> int:
    """Run in this process, which is the run's own, and return its exit code.

    Args:
        run_id: Of a run that has been launched.
        reference: The instance's, as the launcher sent it. What comes of the run is in its event
            log.
        warm: The same instance, if it is open already.
    """
    from dagster._cli.api import _execute_run_command_body  # noqa: PLC0415 -- the run server alone
    from dagster._utils.interrupts import capture_interrupts  # noqa: PLC0415

    # What goes wrong is read in the UI, in alerts and in `callkeeper status`.
    follow_environment()
    with (
        capture_interrupts(),
        kept_connection(),
        warm or _open_instance(reference) as instance,
        claimed_run(database_url(), run_id) as is_ours,
    ):
        run = instance.get_run_by_id(run_id) if is_ours else None
        if run is None or run.status is not dg.DagsterRunStatus.STARTING:
            # Launched twice, or ended meanwhile: nothing is begun again.
            return 0
        # Not the launcher, beside the run: Dagster reads a run, and writes all of it anew, for a
        # tag as for an event, so that one of two writers would undo what the other wrote.
        instance.add_run_tags(run_id, {PROCESS_TAG: name_process(os.getpid())})
        return _execute_run_command_body(
            run_id, instance, lambda _: None, set_exit_code_on_failure=True
        )


def report_lost_run(run_id: str, reference: str) -> None:
    """Mark a run as failed, and to be run again, if its process has ended before it had.

    Args:
        run_id: Of a run that this product's launcher has launched.
        reference: The instance's, as the launcher sent it.
    """
    with _open_instance(reference) as instance:
        run = instance.get_run_by_id(run_id)
        is_lost = run is not None and not run.is_finished
        # Another process may have it, if it was launched twice.
        if run and is_lost and is_run_gone(database_url(), run_id, _GONE_PATIENCE_SEC):
            report_gone(instance, run)


def hand_over_runs(run_ids: Iterable[str], reference: str) -> None:
    """Have runs that are about to be interrupted run again, by the daemon of then.

    Args:
        run_ids: Of runs that this product's launcher has launched.
        reference: The instance's, as the launcher sent it.
    """
    with _open_instance(reference) as instance:
        for run in instance.get_runs(dg.RunsFilter(run_ids=list(run_ids))):
            if not run.is_finished:
                instance.add_run_tags(run.run_id, build_handover_tags(run))


def judge_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> CheckRunHealthResult:
    """Return the health of a run whose process is gone; it is run again, unless it has ended."""
    # It may have ended, properly, since the run was read.
    now = instance.get_run_by_id(run.run_id)
    if now is None or now.is_finished:
        return CheckRunHealthResult(WorkerStatus.SUCCESS)
    instance.add_run_tags(run.run_id, build_rerun_tags(run))
    return CheckRunHealthResult(WorkerStatus.FAILED, GONE)


class ForkingRunLauncher(DefaultRunLauncher):
    """Launches a run as a fork of the run server; without one, as Dagster does by default."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the run's process.

        Raises:
            DagsterLaunchFailedError: The run server cannot read the code, or went away.
        """
        run = context.dagster_run
        if run.tags.get(PROCESS_TAG):
            # Of the run that this one does again: Dagster copies its tags.
            self._instance.add_run_tags(run.run_id, {PROCESS_TAG: ""})
        origin = run.job_code_origin
        # Of another Python nothing is imported here.
        if origin is None or origin.repository_origin.executable_path != sys.executable:
            super().launch_run(context)
            return
        instance = self._instance
        request = {"run_id": run.run_id, "instance": refer_to(instance)}
        try:
            answer = ask_run_server(request)
        except OSError as error:
            raise DagsterLaunchFailedError(  # type: ignore[no-untyped-call]
                f"The run server did not start this run: {error}. Its log is "
                f"{home() / 'logs' / 'dev' / 'runs.log'}."
            ) from error
        if answer is None:
            super().launch_run(context)
            return
        if "error" in answer:
            raise DagsterLaunchFailedError(str(answer["error"]))  # type: ignore[no-untyped-call]
        self._run_ids.add(run.run_id)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run's process; False if it has ended, or is another machine's."""
        run = self._read_named(run_id)
        if run is None or run.is_finished:
            return False
        if not run.tags.get(PROCESS_TAG):
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        process = find_process(run)
        if process is None:
            return False
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
        return True

    def _read_named(self, run_id: str) -> dg.DagsterRun | None:
        """Read a run; one that has just been launched when its process has named itself."""
        until = time.monotonic() + _UNTIL_NAMED_SEC
        while True:
            run = self._instance.get_run_by_id(run_id)
            if run is None or run.status is not dg.DagsterRunStatus.STARTING:
                return run
            if {PROCESS_TAG, GRPC_INFO_TAG} & run.tags.keys() or time.monotonic() > until:
                return run
            time.sleep(_BETWEEN_LOOKS_SEC)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: of runs that have a process here."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Look whether a run's process lives; a run whose process is gone is run again once.

        Dagster takes an unknown state for a dead process, so a run that cannot be judged here is
        called a running one: `run_janitor` finds its end by its lock in the database.
        """
        if not run.tags.get(PROCESS_TAG) or _is_elsewhere(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if find_process(run) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return judge_gone(self._instance, run)
