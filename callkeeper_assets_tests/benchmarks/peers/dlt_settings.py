"""dlt's settings for both dlt peers, after dlt's own guide to performance and what measuring added.

Set before dlt is imported: its worker processes read them from the environment too.
"""

import os
from typing import Final

from callkeeper_assets_tests.benchmarks.peers.job import DOWNLOAD_THREADS, Job

SETTINGS: Final = {
    "EXTRACT__WORKERS": str(DOWNLOAD_THREADS),
    "EXTRACT__MAX_PARALLEL_ITEMS": str(2 * DOWNLOAD_THREADS),
    # Without rotation all calls are one file: one normalize worker, one load job.
    "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "20000",
    "SOURCES__DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "SOURCES__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "NORMALIZE__WORKERS": "2",
    "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "LOAD__WORKERS": "8",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
    "LOAD__TRUNCATE_STAGING_DATASET": "true",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}


def apply_settings(job: Job) -> None:
    """Put dlt's settings and its destination into the environment."""
    os.environ.update(SETTINGS)
    os.environ["DESTINATION__POSTGRES__CREDENTIALS"] = job.database_url
    # The default data folder is the user's home, which the benchmark leaves alone.
    os.environ["DLT_DATA_DIR"] = str(job.folder)
