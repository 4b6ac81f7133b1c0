#!/bin/sh
# A multi-asset with a partitioned check (`partitions_def` of the spec) and a single-run backfill
# policy: over a range of days each day's check is recorded as planned and stays so, while the result
# is recorded for no partition; the same code run for one day records it for that day.
# AssetCheckResult has no field that could say which day it is for.
# Seen: dagster 1.13.27 (`partitions_def` of checks is marked as preview there).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dagster==1.13.27 'sqlalchemy<2.1'
DAGSTER_HOME= "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import dagster as dg

DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-01-08")
KEY = dg.AssetKey("calls")


@dg.multi_asset(
    specs=[dg.AssetSpec(KEY, partitions_def=DAYS)],
    check_specs=[dg.AssetCheckSpec("unique", asset=KEY, partitions_def=DAYS)],
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def calls(context: dg.AssetExecutionContext):
    yield dg.MaterializeResult(
        asset_key=KEY, check_results=[dg.AssetCheckResult(passed=True, check_name="unique")]
    )


job = dg.Definitions(
    assets=[calls], jobs=[dg.define_asset_job("load", selection=[KEY])]
).resolve_job_def("load")


def partitions_of_results(**run):
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            **run,
        ).success
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(KEY, "unique"), limit=100
        )
        return sorted((str(record.partition), record.status.value) for record in records)


of_one_day = partitions_of_results(partition_key="2026-01-03")
of_a_range = partitions_of_results(
    tags={
        "dagster/asset_partition_range_start": "2026-01-03",
        "dagster/asset_partition_range_end": "2026-01-05",
    }
)
print("a run of 2026-01-03:", of_one_day)
print("a run of 2026-01-03 to 2026-01-05:", of_a_range)
days = [(f"2026-01-0{day}", "PLANNED") for day in (3, 4, 5)]
is_so = of_one_day == [("2026-01-03", "SUCCEEDED")] and of_a_range == [
    *days,
    ("None", "SUCCEEDED"),
]
sys.exit(0 if is_so else 1)
PYTHON
