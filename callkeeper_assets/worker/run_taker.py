"""Takes runs from the broker: `python -m callkeeper_assets.worker.run_taker`.

A thread for each run that may be under way at once: it has this machine's run server fork the run,
and acknowledges the message when that has ended. Asked to stop it takes no more, and lets the runs
under way end; those that take longer than its grace are killed, and run again by another worker.
"""

import argparse
import logging
import os
import select
import signal
import threading
import time
from contextlib import suppress
from typing import Final

import dagster as dg
import psutil
import sqlalchemy as sa
from celery.exceptions import Reject
from celery.worker import WorkController, state
from kombu.transport import redis

from callkeeper_assets.dagster_ext.celery_launcher import RUN_TASK, CeleryLauncher
from callkeeper_assets.dagster_ext.dead_runs import mark_if_dead
from callkeeper_assets.dagster_ext.launcher import (
    PROCESS_TAG,
    find_process,
    refer_to,
)
from callkeeper_assets.dagster_ext.run_socket import ask_run_server
from callkeeper_assets.postgres.errors import DatabaseError
from callkeeper_assets.postgres.url import database_url

_logger = logging.getLogger(__name__)


# Between two tries of a message that cannot be worked at: another worker may take it meanwhile.
_PAUSE_SEC: Final = 5.0
_BETWEEN_LOOKS_SEC: Final = 2.0
# Dagster puts off an interrupt that comes at a bad moment.
_BETWEEN_INTERRUPTS_SEC: Final = 15.0
# The run server reports what it sees itself within a second or two.
_UNTIL_SETTLED_SEC: Final = 4.0


class _Channel(redis.Channel):
    """Redis's channel, which outlives the connection that it was opened by.

    When that is lost, kombu gives back the messages that came by it, and acknowledges them when
    their work is done: by the connection that is gone. Both end Celery's worker with an
    AttributeError. Neither is needed: whoever gets a message again finds its run under way or done.
    """

    do_restore = False

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        if not self.closed:
            super().basic_ack(delivery_tag, multiple)  # type: ignore[no-untyped-call]

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if not self.closed:
            super().basic_reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]


redis.Transport.Channel = _Channel


class NotNowError(Exception):
    """The run cannot be begun here, now; the text says why."""


def _wait_for_end(process: psutil.Process) -> None:
    """Wait until a process that is another's child has ended, be it that nobody has noticed."""
    try:
        number = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        # Another system than Linux.
        process.wait()
        return
    try:
        waiting = select.poll()
        waiting.register(number, select.POLLIN)
        waiting.poll()
    finally:
        os.close(number)


class RunTaker:
    """What the threads do with messages.

    Args:
        instance: Dagster's, of this machine.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._reference = refer_to(instance)
        self._processes: dict[str, psutil.Process] = {}
        self._again_from: dict[str, float] = {}

    def take(self, run_id: str) -> None:
        """Have a run done, and return when it has ended; nothing if it is not to be begun.

        Raises:
            NotNowError: The database or the run server is away, or the code cannot be read.
        """
        try:
            run = self._instance.get_run_by_id(run_id)
            # Queued again, under way or ended: this message came twice.
            if run is None or run.status is not dg.DagsterRunStatus.STARTING:
                return
            process = self._fork(run_id)
        except (sa.exc.DBAPIError, DatabaseError, OSError) as error:
            raise NotNowError(str(error)) from error
        if process is None:
            return
        self._processes[run_id] = process
        try:
            _wait_for_end(process)
        finally:
            del self._processes[run_id]
        self._settle(run_id)

    def _fork(self, run_id: str) -> psutil.Process | None:
        answer = ask_run_server({"run_id": run_id, "instance": self._reference})
        if answer is None or "error" in answer:
            raise NotNowError(str((answer or {}).get("error", "The run server is not there.")))
        named = str(answer["process"])
        # It may have ended already.
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(int(named.rsplit(" ", 2)[1]))
        return None

    def _settle(self, run_id: str) -> None:
        """See that a run whose process was killed is known to be lost."""
        # What is not known now, the janitor finds.
        with suppress(sa.exc.DBAPIError, DatabaseError):
            until = time.monotonic() + _UNTIL_SETTLED_SEC
            while (run := self._instance.get_run_by_id(run_id)) and not run.is_finished:
                if time.monotonic() > until:
                    mark_if_dead(self._instance, database_url(), run)
                    return
                time.sleep(_BETWEEN_LOOKS_SEC / 4)

    def watch(self) -> None:
        """Interrupt, for ever, the runs that somebody cancels."""
        while True:
            time.sleep(_BETWEEN_LOOKS_SEC)
            with suppress(sa.exc.DBAPIError, DatabaseError):
                self._interrupt_cancelled()

    def _interrupt_cancelled(self) -> None:
        # Those of a taker before this one as well: a run's tags name its process.
        for run in self._instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.CANCELING])):
            process = find_process(run) if run.tags.get(PROCESS_TAG) else None
            now = time.monotonic()
            if process is None or now < self._again_from.get(run.run_id, 0.0):
                continue
            self._again_from[run.run_id] = now + _BETWEEN_INTERRUPTS_SEC
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill the runs under way: they are run again."""
        for process in list(self._processes.values()):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def serve(instance: dg.DagsterInstance, launcher: CeleryLauncher, runs: int, grace: float) -> None:
    """Take runs until SIGTERM or SIGINT, at most so many at once; return when all have ended.

    Args:
        instance: Dagster's.
        launcher: That of the instance.
        runs: How many may be under way at once.
        grace: Seconds that they have to their end.
    """
    taker = RunTaker(instance)

    @launcher.celery.task(name=RUN_TASK)  # type: ignore[untyped-decorator]
    def take(run_id: str) -> None:
        try:
            taker.take(run_id)
        except NotNowError as error:
            _logger.warning("Run %s cannot be begun here, it goes back: %s", run_id, error)
            time.sleep(_PAUSE_SEC)
            raise Reject(error, requeue=True) from error

    def stop(*_: object) -> None:
        if state.should_stop is None:
            _logger.info("No more runs are taken; those under way have %g s.", grace)
            state.should_stop = 0
            timer = threading.Timer(grace, taker.kill)
            timer.daemon = True
            timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    threading.Thread(target=taker.watch, name="callkeeper-cancelled", daemon=True).start()
    controller = WorkController(
        app=launcher.celery,
        pool_cls="threads",
        concurrency=runs,
        without_gossip=True,
        without_mingle=True,
    )
    controller.start()


def main() -> None:
    """Take runs until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="callkeeper_assets.worker.run_taker")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--grace", type=float, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    for name in ("callkeeper_assets", "celery.worker.consumer"):
        logging.getLogger(name).setLevel(logging.INFO)
    with dg.DagsterInstance.get() as instance:
        launcher = instance.run_launcher
        if not isinstance(launcher, CeleryLauncher):
            raise SystemExit(
                "dagster.yaml names another run launcher than CeleryLauncher, so that nobody sends "
                "runs to this worker: docs/several-machines.md"
            )
        serve(instance, launcher, options.runs, options.grace)


if __name__ == "__main__":
    main()
