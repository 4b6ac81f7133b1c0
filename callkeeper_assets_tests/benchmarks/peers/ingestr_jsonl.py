"""ingestr as its guide says, fed with JSON Lines, as it has no source for an API of somebody's own.

Eight threads download days and write each call as a line; then one `ingestr ingest` reads the file,
infers the types, and merges by account and id.
"""

# mypy: disable-error-code="import-not-found"

import datetime as dt
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import requests

from callkeeper_assets_tests.benchmarks.peers.job import (
    DOWNLOAD_THREADS,
    Job,
    day_parameters,
    read_arguments,
)

_SCHEMA: Final = "ingestr"
_ENCODER: Final = msgspec.json.Encoder()


def _download(job: Job, file: BinaryIO) -> None:
    lock = threading.Lock()
    sessions = threading.local()

    def write_day(account_day: tuple[str, dt.date]) -> None:
        account, day = account_day
        if not hasattr(sessions, "http"):
            sessions.http = requests.Session()
        parameters = day_parameters(job.accounts[account], day, job.time_zone)
        answer = sessions.http.get(f"{job.api_url}/getCallsInfo", params=parameters, timeout=60)
        answer.raise_for_status()
        calls = msgspec.json.decode(answer.content)["result"]
        for call in calls:
            call["account"] = account
        lines = _ENCODER.encode_lines(calls)
        with lock:
            file.write(lines)

    with ThreadPoolExecutor(DOWNLOAD_THREADS) as pool:
        for _ in pool.map(write_day, job.days()):
            pass


def run(job: Job) -> None:
    """Load the job's days."""
    lines = job.folder / "calls.jsonl"
    with lines.open("wb") as file:
        _download(job, file)
    command = [str(Path(sys.executable).with_name("ingestr")), "ingest", "--yes"]
    command += ["--source-uri", f"jsonl://{lines}", "--source-table", "calls"]
    command += ["--dest-uri", job.database_url, "--dest-table", f"{_SCHEMA}.calls"]
    command += ["--incremental-strategy", "merge", "--primary-key", "account"]
    command += ["--primary-key", "id", "--progress", "log"]
    command += ["--pipelines-dir", str(job.folder / "pipelines")]
    subprocess.run(command, check=True)
    lines.unlink()


if __name__ == "__main__":
    run(read_arguments())
