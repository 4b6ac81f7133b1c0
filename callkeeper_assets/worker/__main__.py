"""`python -m callkeeper_assets.worker SOURCE …`: the worker, in a Python set up for a short life.

What it imports and what Dagster builds lives to the end of the process: looking through it for
garbage again and again, and taking it apart at the end, took a third of a refresh. With `--fork` it
is the process that workers are forked from (`worker.forking`).
"""

import gc
import importlib
import os
import socket
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from callkeeper_assets.home import skip_colours, skip_pandas
from callkeeper_assets.language import follow_environment
from callkeeper_assets.local_time import use_newest_rules

gc.set_threshold(50_000, 20, 100)
gc.disable()
skip_pandas()
skip_colours()
use_newest_rules()

from callkeeper_assets.postgres.url import release_database  # noqa: E402 -- after the settings
from callkeeper_assets.worker.forking import FORK, serve  # noqa: E402
from callkeeper_assets.worker.worker import run  # noqa: E402

gc.freeze()
gc.enable()

# Imported late by a run of days, and without a thread of their own.
_OF_DAYS: Final = (
    "callkeeper_assets.callkeeper.client",
    "callkeeper_assets.dagster_ext.storage",
    "callkeeper_assets.personal_data.shield",
    "callkeeper_assets.raw.store",
    "callkeeper_assets.warehouse.migrate",
    "duckdb",
    "psycopg2",
    "requests",
    "upath",
)


def main() -> int:
    """Do what the process was started for; return its exit code."""
    # What goes wrong is said to whoever typed the command.
    follow_environment()
    if sys.argv[1:] != [FORK]:
        return run()
    for module in _OF_DAYS:
        importlib.import_module(module)
    gc.freeze()
    serve(socket.socket(fileno=os.dup(0)), _run_and_end)
    return 0


def _run_and_end(arguments: Sequence[str]) -> NoReturn:
    end_process(run(arguments))


def end_process(code: int) -> NoReturn:
    """End with an exit code, and leave it to the operating system to clear up."""
    release_database()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    end_process(main())
