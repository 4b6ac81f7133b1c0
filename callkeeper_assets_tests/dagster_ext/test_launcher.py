"""How the launcher judges runs, without a run server; with one: `e2e/test_run_server.py`."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster import DagsterInvariantViolationError
from dagster._core.launcher import LaunchRunContext  # noqa: TID251 -- what Dagster calls it with

from callkeeper_assets.dagster_ext.launcher import PROCESS_TAG, ForkingRunLauncher

_GONE = "here 4194304 1.00"


@dg.job
def loads() -> None:
    """Nothing to do."""


@pytest.fixture
def launcher() -> Iterator[tuple[ForkingRunLauncher, dg.DagsterInstance]]:
    """One, with its instance."""
    with dg.DagsterInstance.ephemeral() as instance:
        made = ForkingRunLauncher()
        made.register_instance(instance)
        yield made, instance


def test_a_run_that_is_done_again_is_not_taken_for_dead_by_the_first_ones_process(
    launcher: tuple[ForkingRunLauncher, dg.DagsterInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no run server is, it gets no process of its own that could be named."""
    made, instance = launcher
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    run = instance.create_run_for_job(
        loads, status=dg.DagsterRunStatus.STARTED, tags={PROCESS_TAG: _GONE}
    )
    assert made.check_run_worker_health(run).status.value == "FAILED"
    with pytest.raises(DagsterInvariantViolationError, match="requires a workspace"):
        made.launch_run(LaunchRunContext(run, None))
    launched = instance.get_run_by_id(run.run_id)
    assert launched is not None
    assert made.check_run_worker_health(launched).status.value == "RUNNING"
