"""dlt as an expert writes it: Arrow tables in, flattened and typed by hand, merged into one table.

dlt has nothing left to infer or to normalize: it writes the tables to Parquet and ADBC copies the
files.
"""

# mypy: disable-error-code="import-not-found"

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

from callkeeper_assets_tests.benchmarks.peers.dlt_settings import TUNED, apply_settings
from callkeeper_assets_tests.benchmarks.peers.job import Job, day_parameters, read_arguments

if TYPE_CHECKING:
    import pyarrow as pa


def run(job: Job) -> None:
    """Load the job's days."""
    import dlt  # noqa: PLC0415 -- reads its settings when it is imported
    from dlt.sources.helpers import requests  # noqa: PLC0415

    from callkeeper_assets_tests.benchmarks.peers.flat_calls import flatten_answer  # noqa: PLC0415

    def list_days() -> Iterator[tuple[str, dt.date]]:
        yield from job.days()

    def fetch_day(account_day: tuple[str, dt.date]) -> "pa.Table":
        account, day = account_day
        parameters = day_parameters(job.accounts[account], day, job.time_zone)
        answer = requests.get(f"{job.api_url}/getCallsInfo", params=parameters)
        return flatten_answer(account, answer.content)

    days = dlt.resource(list_days, name="days")
    calls = dlt.transformer(
        fetch_day,
        name="calls",
        data_from=days,
        parallelized=True,
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        primary_key=["account", "id"],
    )
    pipeline = dlt.pipeline("bench_arrow", destination="postgres", dataset_name="dlt_arrow")
    pipeline.run(calls, loader_file_format="parquet")


if __name__ == "__main__":
    given = read_arguments()
    apply_settings(given, TUNED)
    run(given)
