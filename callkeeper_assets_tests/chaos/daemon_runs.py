"""Runs of Dagster's daemon: launched and cancelled as the web server's pages do, and looked at."""

import os
import re
import signal
import time
from dataclasses import dataclass
from datetime import date
from typing import Final

from callkeeper_assets.assets.days import build_range_tags
from callkeeper_assets.assets.jobs import name_load_job
from callkeeper_assets.simulator.server import RunningSimulator
from callkeeper_assets.simulator.settings import Fault
from callkeeper_assets_tests.chaos.installation import SOURCE, Installation
from callkeeper_assets_tests.e2e.dev import Dev
from callkeeper_assets_tests.waiting import wait_until

_LAUNCH: Final = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
} }"""
_CANCEL: Final = """mutation($id: String!) { terminateRun(runId: $id) {
  __typename ... on PythonError { message }
} }"""
_PID: Final = re.compile(r"Started process for run \(pid: (\d+)\)")


@dataclass(frozen=True)
class DaemonRuns:
    """The runs of a running `callkeeper dev`."""

    dev: Dev
    installation: Installation

    def launch(self, first: date, last: date) -> str:
        """Put a load of these days into the queue; return the run's id."""
        tags = build_range_tags(first, last)
        launched = self.dev.ask(
            _LAUNCH,
            p={
                "selector": {
                    "repositoryLocationName": "callkeeper_assets",
                    "repositoryName": "__repository__",
                    "jobName": name_load_job(SOURCE),
                },
                "runConfigData": {},
                "executionMetadata": {
                    "tags": [{"key": key, "value": value} for key, value in tags.items()]
                },
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def cancel(self, run_id: str) -> None:
        """Terminate a run, as a person does."""
        done = self.dev.ask(_CANCEL, id=run_id)["terminateRun"]
        assert done["__typename"] == "TerminateRunSuccess", done

    def kill(self, run_id: str) -> None:
        """Kill -9 the process of a run."""
        found = self.installation.query(
            "SELECT event FROM dagster.event_logs WHERE run_id = %s AND event LIKE %s",
            run_id,
            "%Started process for run%",
        )
        [pid] = {int(pid) for (event,) in found for pid in _PID.findall(event)}
        os.kill(pid, signal.SIGKILL)

    def status(self, run_id: str) -> str:
        """Return a run's status."""
        [(status,)] = self.installation.query(
            "SELECT status FROM dagster.runs WHERE run_id = %s", run_id
        )
        return str(status)

    def wait_for(self, run_id: str, status: str, seconds: float = 90) -> None:
        """Wait until a run has a status."""
        wait_until(lambda: self.status(run_id) == status, f"{run_id} is {status}", seconds)

    def wait_for_key(self, run_id: str) -> None:
        """Wait until a run has the source's key."""
        wait_until(lambda: self._has_key(run_id), "the run has its key", 90)

    def measure_key(self, run_id: str) -> float:
        """Wait until a run has its key no more; return how many seconds after its end that is."""
        wait_until(lambda: not self._has_key(run_id), "the run's key is free", 300)
        now = time.time()
        [(ended_at,)] = self.installation.query(
            "SELECT end_time FROM dagster.runs WHERE run_id = %s", run_id
        )
        return now - float(ended_at)

    def _has_key(self, run_id: str) -> bool:
        count = "SELECT count(*) FROM dagster.concurrency_slots WHERE run_id = %s"
        return self.installation.query(count, run_id) != [(0,)]

    def list_again(self, run_id: str) -> list[str]:
        """Return the runs that were started for a run that was lost, the first one first."""
        tags = "SELECT run_id FROM dagster.run_tags WHERE key = 'dagster/root_run_id' AND value"
        found = self.installation.query(
            f"SELECT run_id FROM dagster.runs WHERE run_id IN ({tags} = %s) AND run_id <> %s"
            " ORDER BY id",
            run_id,
            run_id,
        )
        return [str(one) for (one,) in found]

    def wait_until_again(self, run_id: str) -> str:
        """Wait until a lost run is run again; return the new one. The daemon looks every 5 s."""
        wait_until(lambda: self.list_again(run_id), "the lost run is run again", 60)
        [again] = self.list_again(run_id)
        return again

    def count_at_most(self) -> int:
        """Return how many of the source's steps that ask it have run at a time, at most."""
        events = self.installation.query(
            "SELECT run_id, dagster_event_type FROM dagster.event_logs WHERE step_key = %s"
            " AND dagster_event_type IN ('STEP_START', 'STEP_SUCCESS', 'STEP_FAILURE')"
            " OR dagster_event_type = 'PIPELINE_FAILURE' ORDER BY id",
            f"{SOURCE}__raw_calls",
        )
        busy: set[str] = set()
        most = 0
        for run_id, kind in events:
            busy = busy | {run_id} if kind == "STEP_START" else busy - {run_id}
            most = max(most, len(busy))
        return most


def start_without_answer(runs: DaemonRuns, simulator: RunningSimulator, day: date) -> str:
    """Start a load that has its key, and gets no answer from the source."""
    simulator.account(SOURCE).set_faults(Fault("hang", seconds=50))
    run_id = runs.launch(day, day)
    runs.wait_for_key(run_id)
    return run_id
