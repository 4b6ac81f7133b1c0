"""dlt as its users write it: JSON pages in, flattened and typed by dlt, merged into one table.

After dlt's guide: pages not rows, its own HTTP client and orjson, a parallel transformer, rotated
files, normalize in processes, Parquet copied into PostgreSQL by ADBC.
"""

# mypy: disable-error-code="import-not-found"

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Final

from callkeeper_assets_tests.benchmarks.peers.dlt_settings import TUNED, apply_settings
from callkeeper_assets_tests.benchmarks.peers.job import Job, day_parameters, read_arguments

# Without them dlt infers: a worker that sees a number first and one that sees a string disagree,
# and one of them does its half again.
COLUMN_TYPES: Final[Mapping[str, str]] = {
    "date": "timestamp",
    "order_date": "timestamp",
    **dict.fromkeys(
        (
            "id",
            "status_code",
            "status2_code",
            "date_timestamp",
            "duration_sec",
            "duration_min",
            "duration2_sec",
            "duration2_min",
            "attempt",
            "a_type",
            "playback_tick",
            "asr_attempts",
            "visit_info__session__pgs",
            "visit_info__udata__vst",
        ),
        "bigint",
    ),
    **dict.fromkeys(("visit_info__current_add__fd", "visit_info__first_add__fd"), "timestamp"),
}


def run(
    job: Job, name: str, disposition: str | Mapping[str, str], column_types: Mapping[str, str]
) -> None:
    """Load the job's days.

    Args:
        job: what to load.
        name: of the schema.
        disposition: dlt's word for how rows are merged.
        column_types: of columns whose types dlt need not infer.
    """
    import dlt  # noqa: PLC0415 -- reads its settings when it is imported
    from dlt.common import json  # noqa: PLC0415
    from dlt.sources.helpers import requests  # noqa: PLC0415

    def list_days() -> Iterator[tuple[str, dt.date]]:
        yield from job.days()

    def fetch_day(account_day: tuple[str, dt.date]) -> list[dict[str, object]]:
        account, day = account_day
        parameters = day_parameters(job.accounts[account], day, job.time_zone)
        answer = requests.get(f"{job.api_url}/getCallsInfo", params=parameters)
        calls: list[dict[str, object]] = json.loadb(answer.content)["result"]
        for call in calls:
            call["account"] = account
        return calls

    days = dlt.resource(list_days, name="days")
    calls = dlt.transformer(
        fetch_day,
        name="calls",
        data_from=days,
        parallelized=True,
        write_disposition=disposition,
        primary_key=["account", "id"],
        columns={column: {"data_type": data_type} for column, data_type in column_types.items()},
    )
    pipeline = dlt.pipeline(name, destination="postgres", dataset_name=name)
    pipeline.run(calls, loader_file_format="parquet")


if __name__ == "__main__":
    given = read_arguments()
    apply_settings(given, TUNED)
    run(given, "dlt_json", {"disposition": "merge", "strategy": "upsert"}, COLUMN_TYPES)
