"""dlt's settings: what its own guide to performance says, and what measuring added to that.

Set before dlt is imported: its worker processes read them from the environment too.
"""

import os
from collections.abc import Mapping
from typing import Final

from callkeeper_assets_tests.benchmarks.peers.job import DOWNLOAD_THREADS, Job

# Of a comparison, not of a load.
_QUIET: Final = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
# Threads and processes as asked for, and files rotated as in the guide's own example.
GUIDE: Final = {
    "EXTRACT__WORKERS": str(DOWNLOAD_THREADS),
    "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": "100000",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "100000",
    "NORMALIZE__WORKERS": "2",
    **_QUIET,
}
TUNED: Final = {
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
    **_QUIET,
}


def apply_settings(job: Job, settings: Mapping[str, str]) -> None:
    """Put dlt's settings and its destination into the environment."""
    os.environ.update(settings)
    os.environ["DESTINATION__POSTGRES__CREDENTIALS"] = job.database_url
    # The default data folder is the user's home, which the benchmark leaves alone.
    os.environ["DLT_DATA_DIR"] = str(job.folder)
