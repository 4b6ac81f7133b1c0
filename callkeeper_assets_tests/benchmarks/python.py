"""`ck.calls` beside `pandas.read_sql` through SQLAlchemy: the same columns of the same calls.

Each reading is a process of its own, by turns. What is timed is the whole of it, connections
included, but not the imports: a reading of one day goes before. SQLAlchemy reads by both drivers of
its guide, psycopg2 (what `postgresql://` means to it) and psycopg 3; the faster one of a round is
compared with.
"""

import datetime as dt
import json
import sys
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from callkeeper_assets_tests.benchmarks.contenders import enter_product
from callkeeper_assets_tests.benchmarks.measure import Usage, run_measured
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import ROOT, Stand, plain_environment, today

ACCOUNT: Final = "python"
_DAY: Final = dt.timedelta(days=1)
_DISTANCE: Final = 10 * _DAY
_LEAST: Final = 5.0
# Arguments: source, first day, last day. Prints the seconds of wall and processor, rows, columns.
_FRAME: Final = """
import json, sys, time
import callkeeper_assets as ck

source, first, last = sys.argv[1:]
ck.calls(source, last, last)
started, before = time.perf_counter(), time.process_time()
frame = ck.calls(source, first, last)
took = time.perf_counter() - started, time.process_time() - before
print(json.dumps([*took, *frame.shape, int(frame["talk_sec"].sum())]))
"""
# Arguments: as above, and the driver.
_READ_SQL: Final = """
import datetime as dt, json, sys, time
import pandas as pd
import sqlalchemy as sa
from zoneinfo import ZoneInfo
from callkeeper_assets.local_time import day_start
from callkeeper_assets.postgres import database_url
from callkeeper_assets_tests.analysis.joined import write_join

source, first, last, driver = sys.argv[1:]
zone = ZoneInfo("Europe/Moscow")
url = database_url().replace("postgresql://", f"postgresql+{driver}://", 1)

def read(first, last):
    bounds = {
        "account": source,
        "start": day_start(dt.date.fromisoformat(first), zone),
        "end": day_start(dt.date.fromisoformat(last) + dt.timedelta(days=1), zone),
    }
    with sa.create_engine(url).connect() as connection:
        return pd.read_sql(sa.text(write_join()), connection, params=bounds)

read(last, last)
started, before = time.perf_counter(), time.process_time()
frame = read(first, last)
took = time.perf_counter() - started, time.process_time() - before
print(json.dumps([*took, *frame.shape, int(frame["talk_sec"].sum())]))
"""
_OURS: Final = "ck.calls"
# By name what runs, and its further arguments.
_READERS: Final[Mapping[str, tuple[str, ...]]] = {
    _OURS: (_FRAME,),
    "pandas.read_sql, psycopg2": (_READ_SQL, "psycopg2"),
    "pandas.read_sql, psycopg 3": (_READ_SQL, "psycopg"),
}


class DifferentFramesError(AssertionError):
    """The two did not read the same."""


def compare_frames(stand: Stand, days: int, rounds: int) -> Section:
    """Load so many days, a thousand calls each; read them all both ways, so many times.

    Args:
        stand: with `ACCOUNT`.
        days: how many.
        rounds: of each.
    """
    last = today() - _DISTANCE
    first = last - (days - 1) * _DAY
    contender = enter_product(stand, [ACCOUNT], "python")
    stand.warm([ACCOUNT], first, last)
    contender.load([ACCOUNT], first, last)
    stand.settle()
    environment = {
        **plain_environment(),
        "CALLKEEPER_DATABASE_URL": contender.database_url,
        "CALLKEEPER_DEFS": str(contender.folder / "defs"),
        "CALLKEEPER_HOME": str(contender.folder),
    }
    read: dict[str, list[tuple[Usage, list[Any]]]] = {name: [] for name in _READERS}
    for _ in range(rounds):
        for name, (code, *more) in _READERS.items():
            usage = run_measured(
                [sys.executable, "-c", code, ACCOUNT, str(first), str(last), *more],
                environment=environment,
                folder=ROOT,
                watched=stand.watched,
            )
            read[name].append((usage, json.loads(usage.output.splitlines()[-1])))
    frames = {tuple(told[2:]) for told_by in read.values() for _, told in told_by}
    calls, talk_sec = stand.truth(ACCOUNT, first, last)
    if len(frames) != 1 or (calls, talk_sec) != (next(iter(frames))[0], next(iter(frames))[2]):
        raise DifferentFramesError(f"{frames}, the source has {calls} calls, {talk_sec} s of talk")
    rounds_read = zip(*(read[name] for name in _READERS), strict=True)
    pairs = [(ours, min(theirs, key=lambda one: one[1][0])) for ours, *theirs in rounds_read]
    ratio = median(theirs[1][0] / ours[1][0] for ours, theirs in pairs)
    work = median(_sum_cpu(theirs) / _sum_cpu(ours) for ours, theirs in pairs)
    memory = median(theirs[0].process_mb / ours[0].process_mb for ours, theirs in pairs)
    return Section(
        "python",
        f"A frame of {calls:,} calls, {next(iter(frames))[1]} columns, median of {rounds}",
        [_describe(name, told) for name, told in read.items()],
        (
            Target(f"ck.calls is at least {_LEAST} x as fast", ratio, ratio >= _LEAST),
            Target("and takes less processor time, the server's included", work, work > 1),
            Target("and takes less memory (theirs by ours)", memory, memory > 1),
        ),
    )


def _sum_cpu(told: tuple[Usage, list[Any]]) -> float:
    """Return the processor time of a reading, in the reader and in the server."""
    usage, numbers = told
    return float(numbers[1]) + usage.watched_cpu_sec["server"]


def _describe(name: str, told: list[tuple[Usage, list[Any]]]) -> Row:
    return {
        "reader": name,
        "seconds": median(numbers[0] for _, numbers in told),
        "CPU s": median(numbers[1] for _, numbers in told),
        "server CPU s": median(usage.watched_cpu_sec["server"] for usage, _ in told),
        "process MB": max(usage.process_mb for usage, _ in told),
    }
