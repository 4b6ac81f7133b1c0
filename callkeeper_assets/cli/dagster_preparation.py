"""A process that `dev` runs before Dagster's daemon: `python -m callkeeper_assets.cli.…`.

Makes Dagster's tables if they are missing, and marks the runs of a machine that went down as
failed: they would hold their keys' slots. Prints which runs it marked.
"""

import sys

import dagster as dg

from callkeeper_assets.dagster_ext.dead_runs import mark_dead_runs
from callkeeper_assets.postgres.url import database_url


def main() -> None:
    """Prepare Dagster's instance."""
    with dg.DagsterInstance.get() as instance:
        for run_id in mark_dead_runs(instance, database_url()):
            sys.stdout.write(f"Marked as failed, its process was gone: run {run_id}\n")


if __name__ == "__main__":
    main()
