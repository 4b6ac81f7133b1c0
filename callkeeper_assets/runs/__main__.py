"""`python -m callkeeper_assets.runs SOURCE …`: the worker, in a Python set up for a short life.

What it imports and what Dagster builds lives to the end of the process: looking through it for
garbage again and again, and taking it apart at the end, took a third of a refresh.
"""

import gc
import os
import sys

gc.set_threshold(50_000, 20, 100)

from callkeeper_assets.database.url import release_database  # noqa: E402 -- after the setting
from callkeeper_assets.runs.worker import main  # noqa: E402

if __name__ == "__main__":
    code = main()
    release_database()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
