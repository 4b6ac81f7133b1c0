"""What the launcher does about runs that wait for a worker; a broker is there, no worker is."""

from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType  # noqa: TID251 -- as a launch says
from dagster._core.remote_origin import (  # noqa: TID251 -- the same
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from callkeeper_assets.dagster_ext.celery_launcher import RUN_TASK, CeleryLauncher
from callkeeper_assets.dagster_ext.dead_runs import SOURCE_TAG, is_run_dead, mark_dead_runs
from callkeeper_assets_tests.workers.machines import Machines


def launch(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """Return a run that was launched."""
    location = RegisteredCodeLocationOrigin("callkeeper_assets")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "loads")
    run = dg.DagsterRun(job_name="loads", tags={SOURCE_TAG: "moscow"}, remote_job_origin=origin)
    instance.add_run(run)
    started = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, "loads")
    instance.report_dagster_event(started, run_id=run.run_id)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


def read_status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return a run's status now."""
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status.value


def test_a_run_waits_while_it_can_have_a_message_and_is_queued_again_if_none_is_left(
    machines: Machines, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callkeeper_assets.dagster_ext.dead_runs._UNTIL_START", timedelta())
    monkeypatch.setattr("callkeeper_assets.dagster_ext.celery_launcher._COUNT_KEPT_SEC", 0.0)
    launcher = instance.run_launcher
    assert isinstance(launcher, CeleryLauncher)
    run = launch(instance)
    launcher.celery.send_task(RUN_TASK, (run.run_id,), queue="callkeeper")
    assert mark_dead_runs(instance, machines.first.database) == []
    assert not is_run_dead(instance, machines.first.database, run)
    assert read_status(instance, run) == "STARTING"
    launcher.celery.control.purge()
    assert mark_dead_runs(instance, machines.first.database) == []
    assert read_status(instance, run) == "QUEUED"


def test_a_limit_to_waiting_is_refused(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    file = next(machines.first.home.parent.glob("dagster/dagster.yaml"))
    text = file.read_text("utf-8")
    file.write_text(text.replace("start_timeout_seconds: 0", "start_timeout_seconds: 180"), "utf-8")
    for name, value in machines.first.environment.items():
        monkeypatch.setenv(name, value)
    with (
        dg.DagsterInstance.get() as instance,
        pytest.raises(dg.DagsterInvariantViolationError, match="start_timeout_seconds: 0"),
    ):
        _ = instance.run_launcher
