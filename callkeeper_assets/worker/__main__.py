"""`python -m callkeeper_assets.worker SOURCE …`: the worker, in a Python set up for a short life.

What it imports and what Dagster builds lives to the end of the process: looking through it for
garbage again and again, and taking it apart at the end, took a third of a refresh.
"""

import gc
import os
import sys
from typing import NoReturn

from callkeeper_assets.home import skip_pandas
from callkeeper_assets.local_time import use_newest_rules

gc.set_threshold(50_000, 20, 100)
skip_pandas()
use_newest_rules()

from callkeeper_assets.postgres.url import release_database  # noqa: E402 -- after the settings
from callkeeper_assets.worker.worker import main  # noqa: E402


def end_process(code: int) -> NoReturn:
    """End with an exit code, and leave it to the operating system to clear up."""
    release_database()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    end_process(main())
