"""Which runs are dead: tried on Dagster's real instance, with real processes that are killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import dagster as dg
import pytest
from dagster._core.remote_origin import (  # noqa: TID251 -- a run from a daemon has one
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from callkeeper_assets.dagster_ext.dead_runs import (
    COMMAND_LINE_TAG,
    INBOX_TAG,
    SOURCE_TAG,
    build_handover_tags,
    free_ended_runs,
    mark_dead_runs,
    queue_forgotten_runs,
)
from callkeeper_assets.home import project_root, set_dagster_home
from callkeeper_assets.postgres.locks import is_run_alive, tried_run_lock_alone
from callkeeper_assets.postgres.url import connect
from callkeeper_assets_tests.waiting import wait_until
from callkeeper_assets_tests.warm import WarmPopen

_Status: Final = dg.DagsterRunStatus
_Event: Final = dg.DagsterEventType
_POOL: Final = "callkeeper_a_key"
_AGAIN: Final = {"dagster/max_retries", "dagster/retry_strategy"}

# What a run's process does: it says that it has started, works, and here it never ends by itself.
_WORKER: Final = """
import sys, time
import dagster as dg
with dg.DagsterInstance.get() as instance:
    try:
        instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", "job"), sys.argv[1])
    except Exception as error:
        print(type(error).__name__, flush=True)
    else:
        print("started", flush=True)
        time.sleep(600)
"""


@dg.job
def job() -> None:
    """Stands for any job: what its runs do is done by the tests' own process."""


@dataclass(frozen=True)
class Runs:
    """Runs on a real instance."""

    instance: dg.DagsterInstance
    url: str

    def add(self, **tags: str) -> str:
        """Make a run that has left the queue this moment."""
        run = self.instance.create_run_for_job(
            job, status=_Status.NOT_STARTED, tags={SOURCE_TAG: "moscow", **tags}
        )
        self.report(run.run_id, _Event.RUN_STARTING)
        return run.run_id

    def report(self, run_id: str, kind: dg.DagsterEventType) -> None:
        """Say what happens to a run, as the daemon or a web server does."""
        self.instance.report_dagster_event(dg.DagsterEvent(kind.value, "job"), run_id)

    def change(self, statement: str, *values: object) -> None:
        """Change Dagster's tables behind its back: time has passed."""
        with connect(self.url, autocommit=True) as connection:
            connection.execute(statement, values)

    def get(self, run_id: str) -> dg.DagsterRun:
        """Return a run as it is now."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def claim_key(self, run_id: str) -> None:
        """Let a run's step have the only place of a pool."""
        storage = self.instance.event_log_storage
        storage.initialize_concurrency_limit_to_default(_POOL)
        assert storage.claim_concurrency_slot(_POOL, run_id, "step").is_claimed

    def key_holders(self) -> set[str]:
        """Return the runs that have a place of the pool, or wait for one."""
        info = self.instance.event_log_storage.get_concurrency_info(_POOL)
        return {one.run_id for one in info.claimed_slots} | {
            one.run_id for one in info.pending_steps
        }

    @contextmanager
    def coming(self, run_id: str) -> Iterator["subprocess.Popen[str]"]:
        """A run's process on its way; killed at the end of the block at the latest."""
        with WarmPopen(
            [sys.executable, "-c", _WORKER, run_id],
            cwd=project_root(),
            env={**os.environ, "DAGSTER_HOME": str(project_root())},
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            try:
                yield worker
            finally:
                worker.kill()

    @contextmanager
    def started(self, run_id: str) -> Iterator["subprocess.Popen[str]"]:
        """A run's process that has started it; killed at the end of the block at the latest."""
        with self.coming(run_id) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "started\n"
            yield worker

    def kill(self, worker: "subprocess.Popen[str]", run_id: str) -> None:
        """Kill a run's process, and wait until the server has noticed."""
        worker.kill()
        worker.wait()
        wait_until(lambda: not is_run_alive(self.url, run_id), "the lock is gone")


@pytest.fixture
def runs(database: str) -> Iterator[Runs]:
    """Runs on the instance of the project's `dagster.yaml`, in a new database."""
    set_dagster_home()
    with dg.DagsterInstance.get() as instance:
        yield Runs(instance, database)


def _age(runs: Runs, run_id: str) -> None:
    runs.change(
        "UPDATE dagster.runs SET create_timestamp = create_timestamp - interval '10 minutes'"
        " WHERE run_id = %s",
        run_id,
    )


def test_a_run_created_ten_minutes_ago_that_is_starting_for_a_second_stays(runs: Runs) -> None:
    run_id = runs.add()
    _age(runs, run_id)
    time.sleep(1)
    assert mark_dead_runs(runs.instance, runs.url) == []
    assert runs.get(run_id).status == _Status.STARTING


def test_a_run_that_was_made_and_never_queued_is_queued_after_two_minutes(runs: Runs) -> None:
    """The database failed between Dagster's two steps, and nobody goes on with a second try."""
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "repository")
    forgotten, young, persons, others = (
        runs.instance.create_run_for_job(
            job,
            status=_Status.NOT_STARTED,
            tags=tags,
            remote_job_origin=RemoteJobOrigin(place, "job"),
        ).run_id
        for tags in (
            {SOURCE_TAG: "moscow"},
            {SOURCE_TAG: "moscow"},
            {SOURCE_TAG: "moscow", COMMAND_LINE_TAG: "load"},
            {},
        )
    )
    for run_id in (forgotten, persons, others):
        _age(runs, run_id)
    assert queue_forgotten_runs(runs.instance) == [forgotten]
    assert queue_forgotten_runs(runs.instance) == []
    assert runs.get(forgotten).status == _Status.QUEUED
    left = [runs.get(run_id).status for run_id in (young, persons, others)]
    assert left == [_Status.NOT_STARTED] * 3


def test_a_run_that_was_launched_long_ago_and_never_started_is_lost(runs: Runs) -> None:
    run_id = runs.add()
    assert mark_dead_runs(runs.instance, runs.url) == []
    runs.change(
        "UPDATE dagster.event_logs SET timestamp = timestamp - interval '121 seconds'"
        " WHERE run_id = %s AND dagster_event_type = 'PIPELINE_STARTING'",
        run_id,
    )
    assert mark_dead_runs(runs.instance, runs.url) == [run_id]
    assert runs.get(run_id).status == _Status.FAILURE
    assert runs.get(run_id).tags.keys() >= _AGAIN


def test_a_run_that_waits_for_its_key_for_an_hour_stays_while_its_process_lives(
    runs: Runs,
) -> None:
    """It has started, and none of its steps has: it held no lock, and two minutes were its end."""
    run_id = runs.add()
    with runs.started(run_id):
        _age(runs, run_id)
        runs.change(
            "UPDATE dagster.runs SET start_time = start_time - 3600 WHERE run_id = %s", run_id
        )
        assert mark_dead_runs(runs.instance, runs.url) == []
        assert runs.get(run_id).status == _Status.STARTED


def test_a_killed_process_s_run_is_lost_at_once_and_is_to_be_run_again(runs: Runs) -> None:
    run_id = runs.add()
    with runs.started(run_id) as worker:
        runs.claim_key(run_id)
        runs.kill(worker, run_id)
        assert mark_dead_runs(runs.instance, runs.url) == [run_id]
    run = runs.get(run_id)
    assert run.status == _Status.FAILURE
    assert run.tags["dagster/max_retries"] == "1"
    assert run.tags["dagster/will_retry"] == "true"
    assert runs.key_holders() == set()
    assert mark_dead_runs(runs.instance, runs.url) == []


def test_a_run_is_handed_over_however_often_and_one_that_a_person_waits_for_never() -> None:
    tags = {SOURCE_TAG: "office"}
    first = dg.DagsterRun("refresh", tags=tags)
    assert build_handover_tags(first)["dagster/max_retries"] == "1"
    third = dg.DagsterRun("refresh", tags={**tags, "dagster/retry_number": "2"})
    assert build_handover_tags(third)["dagster/max_retries"] == "3"
    typed = dg.DagsterRun("refresh", tags={**tags, COMMAND_LINE_TAG: "load"})
    assert build_handover_tags(typed) == {}


def test_a_run_whose_own_process_says_that_it_failed_is_not_lost(runs: Runs) -> None:
    run_id = runs.add()
    runs.report(run_id, _Event.RUN_START)
    runs.report(run_id, _Event.RUN_FAILURE)
    assert not runs.get(run_id).tags.keys() & _AGAIN


def test_a_run_that_the_daemon_could_not_launch_is_lost(runs: Runs) -> None:
    """As is one whose end Dagster's own servers notice before the janitor does."""
    run_id = runs.add()
    runs.instance.report_run_failed(runs.get(run_id))
    assert runs.get(run_id).tags.keys() >= _AGAIN


def test_a_run_that_was_stopped_since_it_took_too_long_is_not_lost(runs: Runs) -> None:
    """Dagster says that it is being cancelled before it says that it failed."""
    run_id = runs.add()
    with runs.started(run_id) as worker:
        runs.report(run_id, _Event.RUN_CANCELING)
        runs.kill(worker, run_id)
    runs.instance.report_run_failed(runs.get(run_id))
    assert not runs.get(run_id).tags.keys() & _AGAIN


@pytest.mark.parametrize("tag", [COMMAND_LINE_TAG, INBOX_TAG])
def test_a_lost_run_that_somebody_starts_again_anyway_is_not_run_again(
    runs: Runs, tag: str
) -> None:
    """A person reads that the command failed; the inbox's sensor starts a run for what waits."""
    run_id = runs.add(**{tag: "somebody"})
    with runs.started(run_id) as worker:
        runs.kill(worker, run_id)
    assert mark_dead_runs(runs.instance, runs.url) == [run_id]
    assert runs.get(run_id).status == _Status.FAILURE
    assert not runs.get(run_id).tags.keys() & _AGAIN
    assert runs.get(run_id).tags["dagster/will_retry"] == "false"


def test_a_lost_run_that_somebody_was_cancelling_is_cancelled_and_not_run_again(
    runs: Runs,
) -> None:
    run_id = runs.add()
    with runs.started(run_id) as worker:
        runs.report(run_id, _Event.RUN_CANCELING)
        assert mark_dead_runs(runs.instance, runs.url) == []
        runs.kill(worker, run_id)
    assert mark_dead_runs(runs.instance, runs.url) == [run_id]
    assert runs.get(run_id).status == _Status.CANCELED
    assert not runs.get(run_id).tags.keys() & _AGAIN


def test_a_process_that_comes_while_its_run_is_marked_waits_and_does_not_start(
    runs: Runs,
) -> None:
    """Another run is in its place soon: two of them must never work at a time."""
    run_id = runs.add()
    with (
        tried_run_lock_alone(runs.url, run_id) as is_gone,
        runs.coming(run_id) as worker,
    ):
        assert is_gone
        _wait_for_somebody(runs)
        runs.instance.report_run_failed(runs.get(run_id))
        with connect(runs.url, autocommit=True) as connection:
            connection.execute(_RELEASE)
        assert worker.communicate(timeout=60)[0] == "RunEndedError\n"
    assert runs.get(run_id).status == _Status.FAILURE


_WAITING: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND query LIKE 'SELECT pg_advisory_lock_shared%%' AND wait_event_type = 'Lock'
"""
# Who buries a run ends its session; here another one does.
_RELEASE: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def _wait_for_somebody(runs: Runs) -> None:
    def is_somebody_there() -> bool:
        with connect(runs.url, autocommit=True) as connection:
            return connection.execute(_WAITING).fetchone() == (1,)

    wait_until(is_somebody_there, "the run's process waits")


_ENDS: Final[dict[str, Callable[[dg.DagsterInstance, dg.DagsterRun], object]]] = {
    "failed": lambda instance, run: instance.report_run_failed(run),
    "cancelled": lambda instance, run: instance.report_run_canceled(run),
}


@pytest.mark.parametrize("end", _ENDS)
def test_a_run_s_key_is_free_as_soon_as_it_has(runs: Runs, end: str) -> None:
    """Whoever ended it: here it is not its own process, which is gone."""
    run_id = runs.add()
    with runs.started(run_id) as worker:
        runs.claim_key(run_id)
        runs.kill(worker, run_id)
    assert runs.key_holders() == {run_id}
    _ENDS[end](runs.instance, runs.get(run_id))
    assert runs.key_holders() == set()


def test_a_run_s_own_end_frees_its_key(runs: Runs) -> None:
    """A step that is interrupted leaves it claimed."""
    run_id = runs.add()
    runs.report(run_id, _Event.RUN_START)
    runs.claim_key(run_id)
    assert is_run_alive(runs.url, run_id)
    runs.report(run_id, _Event.RUN_FAILURE)
    assert runs.key_holders() == set()
    assert not is_run_alive(runs.url, run_id)


def test_a_run_that_is_marked_as_ended_keeps_its_key_until_its_process_has(runs: Runs) -> None:
    """It may be asking the source still."""
    run_id = runs.add()
    with runs.started(run_id) as worker:
        runs.claim_key(run_id)
        runs.instance.report_run_canceled(runs.get(run_id))
        free_ended_runs(runs.instance, runs.url)
        assert runs.key_holders() == {run_id}
        runs.kill(worker, run_id)
    free_ended_runs(runs.instance, runs.url)
    assert runs.key_holders() == set()
