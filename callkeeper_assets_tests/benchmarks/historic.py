"""Historic load: two accounts, many days, a thousand calls a day; the product against its peers.

Also how its memory grows with the number of calls. Each contender has loaded one day before it is
measured: what is made once for an empty database is not part of a load, and is reported beside it.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from callkeeper_assets_tests.benchmarks.contenders import (
    PEERS,
    Contender,
    choose_peers,
    enter_peer,
    enter_product,
)
from callkeeper_assets_tests.benchmarks.measure import Usage
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import Stand, today

ACCOUNTS: Final = ("first", "second")
_DAY: Final = dt.timedelta(days=1)
# Away from the days that a refresh reads.
_DISTANCE: Final = 10 * _DAY
_MOST_MEGABYTES: Final = 600
_MOST_GROWTH: Final = 1.1
_LEAST_RATIO: Final = 2.5
_AIMED_RATIO: Final = 4


@dataclass(frozen=True)
class _Load:
    """One historic load, done and checked."""

    contender: Contender
    calls: int
    opening: Usage
    usage: Usage
    database_bytes: float
    raw_bytes: float

    @property
    def speed(self) -> float:
        """Calls a second."""
        return self.calls / self.usage.seconds

    def describe(self, product: "_Load") -> Row:
        """The load as a row, beside the product's."""
        return {
            "loader": self.contender.label,
            "calls": self.calls,
            "seconds": self.usage.seconds,
            "calls/s": self.speed,
            "callkeeper is x faster": product.speed / self.speed,
            "CPU s": self.usage.cpu_sec,
            "server CPU s": self.usage.watched_cpu_sec["server"],
            "API CPU s": self.usage.watched_cpu_sec["simulator"],
            "largest process MB": self.usage.process_mb,
            "all processes MB": self.usage.tree_mb,
            "database B/call": self.database_bytes,
            "raw B/call": self.raw_bytes or None,
            "first day s": self.opening.seconds,
        }


def _load(contender: Contender, days: int) -> _Load:
    """Load a day into the empty database, then so many days, the latter measured."""
    last = today() - _DISTANCE
    first = last - (days - 1) * _DAY
    before = first - _DAY
    stand = contender.stand
    stand.warm(ACCOUNTS, before, last)
    opening = contender.load(ACCOUNTS, before, before)
    stand.settle()
    usage = contender.load(ACCOUNTS, first, last)
    contender.check([(account, before, last) for account in ACCOUNTS])
    calls = sum(stand.truth(account, first, last)[0] for account in ACCOUNTS)
    stored = sum(stand.truth(account, before, last)[0] for account in ACCOUNTS)
    database_bytes, raw_bytes = contender.stored_bytes()
    return _Load(contender, calls, opening, usage, database_bytes / stored, raw_bytes / stored)


def compare_loads(stand: Stand, python: str, days: int) -> Section:
    """Measure the historic load of each contender.

    Args:
        stand: with `ACCOUNTS`.
        python: the peers'; without it dlt does not take part.
        days: how many of each account.
    """
    contenders = [enter_product(stand, ACCOUNTS, "historic")]
    contenders += [enter_peer(stand, name, python) for name in choose_peers(PEERS, python)]
    loads = [_load(contender, days) for contender in contenders]
    product = loads[0]
    # Each account is a run of its own, and each run one process.
    memory = product.usage.process_mb
    return Section(
        "historic",
        f"Historic load of {len(ACCOUNTS)} accounts x {days} days",
        [load.describe(product) for load in loads],
        (
            *(_compare_with_dlt(loads) if python else ()),
            Target(f"memory of a run below {_MOST_MEGABYTES} MB", memory, memory < _MOST_MEGABYTES),
        ),
    )


def _compare_with_dlt(loads: Sequence[_Load]) -> tuple[Target, ...]:
    speed = {load.contender.name: load.speed for load in loads}
    product = speed["callkeeper"]
    guided, tuned, expert = (
        product / speed[name] for name in ("dlt_guide", "dlt_json", "dlt_arrow")
    )
    return (
        Target(f"{_LEAST_RATIO} x dlt as its guide says", guided, guided >= _LEAST_RATIO),
        Target(f"{_AIMED_RATIO} x dlt as its guide says, the aim", guided, guided >= _AIMED_RATIO),
        Target(f"{_LEAST_RATIO} x dlt tuned further", tuned, tuned >= _LEAST_RATIO),
        Target("ahead of dlt fed with Arrow", expert, expert > 1),
    )


def compare_memory(stand: Stand, few_days: int, many_days: int) -> Section:
    """Measure the product's memory for a shorter and a longer load, each into an empty database."""
    rows: list[Row] = []
    peaks = []
    last = today() - _DISTANCE
    for days in (few_days, many_days):
        first = last - (days - 1) * _DAY
        stand.warm(ACCOUNTS, first, last)
        contender = enter_product(stand, ACCOUNTS, f"memory_{days}")
        usage = contender.load(ACCOUNTS, first, last)
        contender.check([(account, first, last) for account in ACCOUNTS])
        calls = sum(stand.truth(account, first, last)[0] for account in ACCOUNTS)
        rows.append(
            {
                "loader": contender.label,
                "calls": calls,
                "seconds": usage.seconds,
                "largest process MB": usage.process_mb,
                "all processes MB": usage.tree_mb,
            }
        )
        peaks.append(usage.process_mb)
    growth = peaks[1] / peaks[0]
    return Section(
        "memory",
        "Memory of a historic load as it grows",
        rows,
        (Target(f"a run grows by no more than {_MOST_GROWTH} x", growth, growth <= _MOST_GROWTH),),
    )
