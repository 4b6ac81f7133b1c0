"""Reading millions of calls, and what the commands cost over them.

The ten questions of the folder `questions`, each to its last row, over a warehouse that holds few
calls of three years, and over one that holds many. Then the commands that a person types, over
both: their days have a thousand calls in both, so that what grows is the price of what is held.
"""

import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import psycopg

from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.contenders import Contender, enter_product
from callkeeper_assets_tests.benchmarks.held_calls import multiply_calls
from callkeeper_assets_tests.benchmarks.measure import Usage, measure_cpu
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.retention import configure_retention
from callkeeper_assets_tests.benchmarks.stand import CALLS_A_DAY, ROOT, Stand, today

ACCOUNT: Final = "read"
_DAY: Final = dt.timedelta(days=1)
_DISTANCE: Final = 10 * _DAY
_MOST_LOADED: Final = 30
_MOST_SEC: Final = 2.0
_MOST_GROWTH: Final = 1.25
_PHONE: Final = """
    SELECT client_phone FROM callkeeper_calls WHERE client_phone IS NOT NULL
    ORDER BY call_id DESC LIMIT 1
"""
# These look at all that is held: at every row that may tell of a client, at every dimension's row
# that may have lost its last call, at the number of all calls. They are measured by once.
_STATUS: Final = "status"
_RETAIN: Final = "retain: a day goes"
_FORGET: Final = "forget a client"
_LOOK_AT_ALL: Final = frozenset({_STATUS, _RETAIN, _FORGET})


class WrongReadingError(AssertionError):
    """The warehouse does not hold as many calls as it was to hold."""


@dataclass(frozen=True)
class _Cost:
    """What a question or a command costs, the median of some times.

    Attributes:
        rows: of the answer; None of a command.
        cpu_sec: processor time of a command.
        server_sec: processor time of the server.
    """

    seconds: float
    rows: int | None
    cpu_sec: float | None
    server_sec: float


def _ask(
    contender: Contender, connection: psycopg.Connection[Any], question: str, rounds: int
) -> _Cost:
    """Ask a question so many times, as a BI tool does: over a connection that is there."""
    server = contender.stand.watched["server"]
    before = measure_cpu(server)
    times: list[float] = []
    rows = 0
    for _ in range(rounds):
        began = time.perf_counter()
        rows = len(connection.execute(question.encode()).fetchall())
        times.append(time.perf_counter() - began)
    return _Cost(median(times), rows, None, (measure_cpu(server) - before) / rounds)


def _ask_all(contender: Contender, rounds: int) -> dict[str, _Cost]:
    with connect(contender.database_url, autocommit=True) as connection:
        return {
            file.stem: _ask(contender, connection, file.read_text(), rounds)
            for file in sorted((ROOT / "questions").glob("*.sql"))
        }


def _repeat(run: Callable[[int], Usage], rounds: int) -> _Cost:
    """Run a command so many times."""
    usages = sorted((run(number) for number in range(rounds)), key=lambda one: one.seconds)
    usage = usages[rounds // 2]
    return _Cost(usage.seconds, None, usage.cpu_sec, usage.watched_cpu_sec["server"])


def _run_commands(
    contender: Contender, last: dt.date, oldest: dt.date, rounds: int
) -> dict[str, _Cost]:
    """Run the commands over what is held; `last` is the last day that is loaded."""

    def load(number: int) -> Usage:
        day = last + (number + 1) * _DAY
        return contender.load([ACCOUNT], day, day)

    def reconcile(number: int) -> Usage:
        day = str(last - number * _DAY)
        return contender.run_product("reconcile", ACCOUNT, "--from", day, "--to", day)

    def retain(number: int) -> Usage:
        first_kept = oldest + (number + 1) * _DAY
        configure_retention(contender, ACCOUNT, (today() - first_kept).days)
        return contender.run_product("retain", ACCOUNT)

    with connect(contender.database_url) as connection:
        row = connection.execute(_PHONE).fetchone()
    assert row is not None
    phone = str(row[0])
    runs: Mapping[str, Callable[[int], Usage]] = {
        "load of a new day": load,
        "load of a day that is held": lambda _: contender.load([ACCOUNT], last, last),
        "refresh of 3 days": lambda _: contender.refresh(ACCOUNT),
        "reconcile a day": reconcile,
        "check": lambda _: contender.run_product("check"),
        _STATUS: lambda _: contender.run_product("status"),
        _RETAIN: retain,
        _FORGET: lambda _: contender.run_product("forget", phone),
    }
    return {name: _repeat(run, 1 if name in _LOOK_AT_ALL else rounds) for name, run in runs.items()}


def _measure(stand: Stand, calls: int, rounds: int) -> dict[str, _Cost]:
    """Make a warehouse of so many calls, and read and change it; it goes afterwards."""
    last = today() - _DISTANCE
    loaded = max(rounds, min(_MOST_LOADED, calls // (4 * CALLS_A_DAY)))
    first = last - (loaded - 1) * _DAY
    contender = enter_product(stand, [ACCOUNT], f"reading_{calls}")
    stand.warm([ACCOUNT], first, today())
    contender.load([ACCOUNT], first, last)
    copies = calls // CALLS_A_DAY - loaded
    oldest = multiply_calls(contender.database_url, first, loaded, copies, rounds)
    with connect(contender.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM calls WHERE date IS NOT NULL").fetchone()
    if row != ((copies + loaded) * CALLS_A_DAY,):
        raise WrongReadingError(f"{row} calls in place of {(copies + loaded) * CALLS_A_DAY:,}")
    stand.settle()
    costs = {
        **_ask_all(contender, rounds),
        **_run_commands(contender, last, oldest, rounds),
    }
    stand.drop(contender.database_url)
    return costs


def compare_sizes(stand: Stand, few: int, many: int, rounds: int) -> Section:
    """Measure questions and commands over few and over many calls.

    Args:
        stand: with `ACCOUNT`.
        few: how many calls are held at first.
        many: how many then.
        rounds: how often a question is asked, and a command is run.
    """
    small, large = _measure(stand, few, rounds), _measure(stand, many, rounds)
    slowest = max(cost.seconds for cost in large.values() if cost.rows is not None)
    growth = max(
        cost.seconds / small[name].seconds
        for name, cost in large.items()
        if cost.rows is None and name not in _LOOK_AT_ALL
    )
    return Section(
        "reading",
        f"Ten questions and the commands over {few:,} and {many:,} calls",
        [_describe(name, small[name], cost, few, many) for name, cost in large.items()],
        (
            Target(f"each question under {_MOST_SEC} s", slowest, slowest < _MOST_SEC),
            Target(f"a command grows by {_MOST_GROWTH} x at most", growth, growth <= _MOST_GROWTH),
        ),
    )


def _describe(name: str, small: _Cost, large: _Cost, few: int, many: int) -> Row:
    return {
        "what": name,
        "rows": large.rows,
        f"s, {few:,}": small.seconds,
        f"s, {many:,}": large.seconds,
        "grows by": large.seconds / small.seconds,
        "CPU s": large.cpu_sec,
        f"server CPU s, {few:,}": small.server_sec,
        f"server CPU s, {many:,}": large.server_sec,
    }
