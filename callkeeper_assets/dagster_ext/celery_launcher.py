"""Dagster's launcher of runs for Celery, made fit for duty: runs on any of several machines.

`dagster.yaml` names `CeleryLauncher` and a broker; on each machine `callkeeper worker` takes runs
from it and forks them. A message is a run's id, and the database alone says what is to be done with
it: a run that is under way or has ended is not begun again, so that a message may come twice, and
one that is lost costs a minute or two.
"""

import time
from typing import Any, Final, cast

import dagster as dg
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from callkeeper_assets.dagster_ext.dead_runs import queue_run
from callkeeper_assets.dagster_ext.launcher import judge_gone
from callkeeper_assets.home import configured_broker_url
from callkeeper_assets.postgres.locks import is_run_alive, tried_run_lock_alone
from callkeeper_assets.postgres.url import database_url

RUN_TASK: Final = "callkeeper.run"
_QUEUE: Final = "callkeeper"
# Twice `max_runtime_seconds` of dagster.yaml: a message that is worked on is no lost one.
_LONGEST_RUN_SEC: Final = 2 * 86_400
# RabbitMQ else closes the channel of who has worked at a message for half an hour.
_OF_QUEUES: Final = {"x-consumer-timeout": 1000 * _LONGEST_RUN_SEC, "x-max-priority": 10}
_SETTINGS: Final[dict[str, Any]] = {
    # A worker that is killed before its run has begun gives the message back.
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    # Each message that a worker has is one that it works on.
    "worker_prefetch_multiplier": 1,
    # The database knows how a run went.
    "task_ignore_result": True,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_heartbeat": 30,
    "broker_transport_options": {
        "visibility_timeout": _LONGEST_RUN_SEC,
        "confirm_publish": True,
        # A broker that stalls holds up a launch no longer.
        "socket_timeout": 15,
        "socket_connect_timeout": 5,
    },
    # Some six seconds: a broker's restart.
    "task_publish_retry_policy": {
        "max_retries": 6,
        "interval_start": 0.2,
        "interval_step": 0.4,
        "interval_max": 2.0,
    },
}
_COUNT_KEPT_SEC: Final = 10.0
_AWAY: Final = (
    "The broker cannot be reached: {error}. The run goes back to the queue, and is launched again."
)
_LOST: Final = "The broker has lost this run's message: the run goes back to the queue."


class CeleryLauncher(CeleryRunLauncher):
    """Launches a run as a message that some machine's `callkeeper worker` takes."""

    # For the queue of runs, which need not ask what this machine holds.
    sends_runs_away: Final = True

    def __init__(
        self,
        default_queue: str = _QUEUE,
        broker: str | None = None,
        backend: str | None = None,
        **options: Any,  # noqa: ANN401 -- Dagster's
    ) -> None:
        """Configure the client; the broker is not asked yet.

        Args:
            default_queue: Of runs without the tag `dagster-celery/queue`.
            broker: None: the one that the environment names.
            backend: None: nothing is kept of results.
            options: As of Dagster's own launcher.
        """
        config = {**_SETTINGS, **(options.pop("config_source", None) or {})}
        super().__init__(
            default_queue=default_queue,
            broker=broker or configured_broker_url(),
            backend=backend,
            config_source=config,
            **options,
        )
        self._counts: dict[str, tuple[float, int | None]] = {}
        # Dagster's own has one queue, whatever it is told.
        self.celery.conf.task_queues = [
            Queue(default_queue, queue_arguments=_OF_QUEUES)  # type: ignore[no-untyped-call]
        ]

    @classmethod
    def config_type(cls) -> Any:  # noqa: ANN401 -- Dagster's
        """Take what Dagster's own takes; the queue is ours, and no results are kept."""
        own: dict[str, Any] = dict(cast("Any", super().config_type()))
        own["default_queue"] = dg.Field(dg.StringSource, is_required=False, default_value=_QUEUE)
        own["backend"] = dg.Field(dg.Noneable(dg.StringSource), is_required=False)
        return own

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Take note of the instance.

        Raises:
            DagsterInvariantViolationError: It gives up runs that wait for a worker.
        """
        super().register_instance(instance)
        if instance.run_monitoring_enabled and instance.run_monitoring_start_timeout_seconds:
            raise dg.DagsterInvariantViolationError(
                "Runs that wait for a worker would be failed as not starting: with CeleryLauncher, "
                "dagster.yaml has to say `start_timeout_seconds: 0` below `run_monitoring`. A run "
                "whose message is lost is found without it."
            )

    def launch_run(self, context: LaunchRunContext) -> None:
        """Send the run's message; while there is no broker, the run goes back to the queue."""
        run = context.dagster_run
        try:
            self._launch_celery_task_run(
                run=run,
                task_signature=self.celery.signature(RUN_TASK, (run.run_id,), immutable=True),
                routing_key=RUN_TASK,
            )
        except OperationalError as error:
            self._put_back(run, _AWAY.format(error=error))

    def terminate(self, run_id: str) -> bool:
        """Have the run's worker interrupt it; one that still waits for a worker ends at once."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        with tried_run_lock_alone(database_url(), run_id) as is_waiting:
            now = self._instance.get_run_by_id(run_id) if is_waiting else None
            if now is not None and now.status is dg.DagsterRunStatus.CANCELING:
                self._instance.report_run_canceled(now, "No worker had begun it.")
        return True

    @property
    def supports_resume_run(self) -> bool:
        """No: a run is done again from its beginning, where what is done already is found."""
        return False

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Look whether some process holds the run's lock in the database; no broker is asked."""
        if is_run_alive(database_url(), run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return judge_gone(self._instance, run)

    def get_run_worker_debug_info(
        self,
        run: DagsterRun,  # noqa: ARG002 -- Dagster's signature
        include_container_logs: bool | None = True,  # noqa: ARG002 -- the same
    ) -> str | None:
        """Nothing: the run's own log has it."""
        return None

    def resend_if_lost(self, run: DagsterRun) -> bool:
        """Put a run back into Dagster's queue if no message is left that could be its own.

        To be called while nobody can begin it.

        Returns:
            Whether it was put back; not where the broker cannot be asked.
        """
        queue = run.tags.get(DAGSTER_CELERY_QUEUE_TAG, self.default_queue)
        if self._count_waiting(queue) != 0:
            return False
        self._put_back(run, _LOST)
        return True

    def _count_waiting(self, queue: str) -> int | None:
        """Return how many messages wait, as of some seconds ago; None if it cannot be found out.

        Whoever asks does so for many runs, whose messages were sent minutes ago.
        """
        counted_at, waiting = self._counts.get(queue, (-_COUNT_KEPT_SEC, None))
        if time.monotonic() - counted_at < _COUNT_KEPT_SEC:
            return waiting
        with self.celery.connection_for_read() as connection:
            try:
                declared = connection.default_channel.queue_declare(queue=queue, passive=True)
                waiting = declared.message_count
            except connection.channel_errors:
                # There is no such queue: Redis has none that is empty.
                waiting = 0
            except connection.connection_errors:
                waiting = None
        self._counts[queue] = (time.monotonic(), waiting)
        return waiting

    def _put_back(self, run: DagsterRun, why: str) -> None:
        queue_run(self._instance, run, why)
