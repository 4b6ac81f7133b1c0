#!/bin/sh
# Dagster stores a run's failure event first, and the run's own status (and the tag dagster/will_retry)
# after it, in another transaction. The daemon that starts retries (EventLogConsumerDaemon) moves its
# cursor past every failure event that it has seen, also when the run is not FAILURE yet: such a run
# says will_retry=true for ever, and is never run again. It is a matter of milliseconds, so it is
# rare, and more so the slower the database is.
# Seen: dagster 1.13.27, instance in SQLite, one run failed with the daemon's look before and one with
# its look between the two: the first has one retry, the second none, after three more looks.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dagster==1.13.27
cd "$folder"
cat > jobs.py <<'PYTHON'
import dagster as dg


@dg.op
def work(): ...


@dg.job
def nightly():
    work()


defs = dg.Definitions(jobs=[nightly])
PYTHON
DAGSTER_HOME= "$folder/venv/bin/python" - <<'PYTHON'
import logging
import sys
import tempfile

import dagster as dg
from dagster._core.storage.dagster_run import RunsFilter
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon

logging.disable(logging.WARNING)
target = PythonFileTarget(
    python_file="jobs.py", attribute=None, working_directory=".", location_name="jobs"
)
settings = {
    "run_retries": {"enabled": True, "max_retries": 1},
    "telemetry": {"enabled": False},
    "run_launcher": {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"},
}
with (
    tempfile.TemporaryDirectory() as home,
    dg.DagsterInstance.local_temp(home, overrides=settings) as instance,
    create_test_daemon_workspace_context(target, instance) as context,
):
    daemon = EventLogConsumerDaemon()

    def look():
        list(daemon.run_iteration(context))

    def fail(looks_between):
        location = context.create_request_context().code_locations[0]
        job = next(iter(location.get_repositories().values())).get_full_job("nightly")
        run = instance.create_run_for_job(
            __import__("jobs").nightly,
            status=dg.DagsterRunStatus.STARTED,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        storage = instance.event_log_storage
        store = storage.store_event

        def store_and_look(event):
            store(event)
            if looks_between and event.dagster_event_type == dg.DagsterEventType.RUN_FAILURE:
                look()

        storage.store_event = store_and_look
        instance.report_run_failed(run)
        storage.store_event = store
        for _ in range(3):
            look()
        retries = instance.get_runs(filters=RunsFilter(tags={"dagster/parent_run_id": run.run_id}))
        after = instance.get_run_by_id(run.run_id)
        return len(retries), after.status.value, after.tags.get("dagster/will_retry")

    look()
    usual, lost = fail(looks_between=False), fail(looks_between=True)
print("looked at after the status was stored (retries, status, will_retry):", *usual)
print("looked at between event and status:                                ", *lost)
sys.exit(0 if (usual, lost) == ((1, "FAILURE", "true"), (0, "FAILURE", "true")) else 1)
PYTHON
