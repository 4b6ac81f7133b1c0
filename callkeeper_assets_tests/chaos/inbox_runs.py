"""`python -m callkeeper_assets_tests.chaos.inbox_runs`: runs over the inbox, one after another.

Each is a run of the product's own job on Dagster's instance, as the sensor's are; only the start of
a process for each is saved. Whatever goes wrong ends the process, as it would end a run's own.
"""

import os
import time

import dagster as dg

from callkeeper_assets.definitions import defs
from callkeeper_assets.home import home
from callkeeper_assets.postgres.url import database_url
from callkeeper_assets.warehouse.migrate import ensure_schema
from callkeeper_assets.webhooks.inbox_queries import list_waiting

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_BETWEEN_LOOKS_SEC = 0.1


def main() -> None:
    """Run whenever something waits, until somebody ends it."""
    ensure_schema(database_url())
    job = defs.resolve_job_def("webhook_inbox")
    with dg.DagsterInstance.get() as instance:
        (home() / f"inbox-runs-{os.getpid()}").touch()
        while True:
            if list_waiting(database_url()):
                job.execute_in_process(instance=instance, run_config=_QUIET)
            else:
                time.sleep(_BETWEEN_LOOKS_SEC)


if __name__ == "__main__":
    main()
