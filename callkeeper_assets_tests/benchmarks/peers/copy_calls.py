"""The practical limit: no framework, merge, raw calls or checks; one flat table, no index.

Two processes of four threads, because JSON to Arrow holds Python's lock; each thread downloads some
days, flattens them and copies them into PostgreSQL over its own connection.
"""

# mypy: disable-error-code="import-not-found"

import datetime as dt
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pyarrow as pa
import requests
from adbc_driver_postgresql import dbapi

from callkeeper_assets_tests.benchmarks.peers.flat_calls import flatten_answer
from callkeeper_assets_tests.benchmarks.peers.job import (
    DOWNLOAD_THREADS,
    Job,
    day_parameters,
    read_arguments,
)

_PROCESSES: Final = 2
# A COPY costs some round trips: worth ten thousand rows, and little enough to hold in memory.
_DAYS_A_COPY: Final = 10

AccountDay = tuple[str, dt.date]


def _make_table(job: Job) -> None:
    empty = flatten_answer("", b'{"result":[]}')
    with dbapi.connect(job.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS flat")
        cursor.adbc_ingest("calls", empty, mode="create_append", db_schema_name="flat")
        connection.commit()


def _copy_days(job: Job, days: Sequence[AccountDay]) -> None:
    """One thread's share."""
    with (
        requests.Session() as session,
        dbapi.connect(job.database_url) as connection,
        connection.cursor() as cursor,
    ):
        for start in range(0, len(days), _DAYS_A_COPY):
            tables = []
            for account, day in days[start : start + _DAYS_A_COPY]:
                parameters = day_parameters(job.accounts[account], day, job.time_zone)
                answer = session.get(f"{job.api_url}/getCallsInfo", params=parameters, timeout=60)
                answer.raise_for_status()
                tables.append(flatten_answer(account, answer.content))
            calls = pa.concat_tables(tables)
            cursor.adbc_ingest("calls", calls, mode="append", db_schema_name="flat")
            connection.commit()


def _run_process(job: Job, days: Sequence[AccountDay]) -> None:
    threads = DOWNLOAD_THREADS // _PROCESSES
    with ThreadPoolExecutor(threads) as pool:
        shares = [pool.submit(_copy_days, job, days[number::threads]) for number in range(threads)]
        for share in shares:
            share.result()


def run(job: Job) -> None:
    """Load the job's days."""
    _make_table(job)
    days = list(job.days())
    with multiprocessing.get_context("fork").Pool(_PROCESSES) as pool:
        pool.starmap(
            _run_process, [(job, days[number::_PROCESSES]) for number in range(_PROCESSES)]
        )


if __name__ == "__main__":
    run(read_arguments())
