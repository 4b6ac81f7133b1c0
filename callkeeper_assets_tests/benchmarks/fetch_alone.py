"""`python -m …fetch_alone SOURCE --from DAY --to DAY`: raw_calls alone, as a run of the worker's.

The measure that reconciliation is compared with: the same process, its start and its end included,
the same Dagster run, the same days fetched and kept, and nothing done with them.
"""

import argparse
import datetime as dt

import dagster as dg

from callkeeper_assets.assets import build_shared_definitions, build_source_definitions
from callkeeper_assets.home import keep_memory
from callkeeper_assets.plans import DayRange
from callkeeper_assets.postgres.url import database_url
from callkeeper_assets.worker import worker
from callkeeper_assets.worker.__main__ import end_process

_JOB = "fetch_alone"


def main() -> int:
    """Fetch the days; return 0 if all went well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("--from", dest="first", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--to", dest="last", type=dt.date.fromisoformat, required=True)
    given = parser.parse_args()
    keep_memory(worker.KEPT_BYTES, worker.FETCHED_BYTES, in_one_heap=True)
    source = worker._find_source(given.source)
    days = DayRange(given.first, given.last)
    with dg.DagsterInstance.get() as instance:
        selection = dg.AssetSelection.assets(dg.AssetKey([source.name, "raw_calls"]))
        definitions = dg.Definitions.merge(
            build_shared_definitions([source]),
            build_source_definitions(source),
            dg.Definitions(jobs=[dg.define_asset_job(_JOB, selection=selection)]),
        )
        is_done = worker._run_one(
            instance,
            database_url(),
            definitions.resolve_job_def(_JOB),
            source.name,
            days,
            work=worker._Work(_JOB, [days], {"force": False}, "load"),
            source=source,
        )
    return 0 if is_done else 1


if __name__ == "__main__":
    end_process(main())
