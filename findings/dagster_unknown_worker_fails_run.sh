#!/bin/sh
# A run launcher that is asked by Dagster's run monitoring how a run's worker is, and says that it
# does not know (WorkerStatus.UNKNOWN), has the run marked as failed, though it goes on: everything
# but RUNNING and SUCCESS counts as a death, and CheckRunHealthResult.transient changes nothing.
# Seen: dagster 1.13.27.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dagster==1.13.27 'sqlalchemy<2.1'
cat > "$folder/launcher.py" <<'PYTHON'
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus


class Unsure(DefaultRunLauncher):
    supports_check_run_worker_health = True

    @classmethod
    def from_config_value(cls, inst_data, config_value):
        return cls(inst_data)

    def check_run_worker_health(self, run):
        return CheckRunHealthResult(WorkerStatus.UNKNOWN, "the network is away", transient=True)
PYTHON
cat > "$folder/dagster.yaml" <<'YAML'
run_launcher: {module: launcher, class: Unsure, config: {}}
run_monitoring: {enabled: true}
telemetry: {enabled: false}
YAML
cd "$folder"
DAGSTER_HOME=$folder PYTHONPATH=$folder venv/bin/python -W ignore - <<'PYTHON'
import logging
import sys

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration


@dg.job
def loads(): ...


with dg.DagsterInstance.get() as instance:
    run = instance.create_run_for_job(loads, status=dg.DagsterRunStatus.STARTED)
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
        for _ in execute_run_monitoring_iteration(context, logging.getLogger()):
            pass
    status = instance.get_run_by_id(run.run_id).status
    said = [each.message for each in instance.all_logs(run.run_id)][-1]
print("the run, of which nothing is known:", status.value)
print(said)
sys.exit(0 if status is dg.DagsterRunStatus.FAILURE and "UNKNOWN" in said else 1)
PYTHON
