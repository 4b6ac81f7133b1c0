"""Historic load of one account through both APIs: the unified one must not cost more for a call.

The same calls, a thousand a day, in an empty database for each load; the rounds alternate.
"""

import datetime as dt
from statistics import median
from typing import Final

from callkeeper_assets.callkeeper.records import ApiName
from callkeeper_assets_tests.benchmarks.contenders import enter_product
from callkeeper_assets_tests.benchmarks.measure import Usage
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import Stand, today

ACCOUNT: Final = "migrated"
_APIS: Final[tuple[ApiName, ...]] = ("callkeeper", "ckct")
_DAY: Final = dt.timedelta(days=1)
_DISTANCE: Final = 10 * _DAY
# Its records are larger, and a full page has to be asked for in halves.
_MOST: Final = 1.15


def compare_apis(stand: Stand, days: int, rounds: int) -> Section:
    """Load so many days through each API, so many times.

    Args:
        stand: with `ACCOUNT`.
        days: how many; each has a full page of calls.
        rounds: of each API.
    """
    last = today() - _DISTANCE
    first = last - (days - 1) * _DAY
    for api in _APIS:
        stand.warm([ACCOUNT], first - _DAY, last, api)
    usages: dict[ApiName, list[Usage]] = {api: [] for api in _APIS}
    for number in range(rounds):
        for api in _APIS:
            contender = enter_product(stand, [ACCOUNT], f"{api}_{number}", api=api)
            contender.load([ACCOUNT], first - _DAY, first - _DAY)
            stand.settle()
            usages[api].append(contender.load([ACCOUNT], first, last))
            contender.check([(ACCOUNT, first - _DAY, last)])
    calls = stand.truth(ACCOUNT, first, last)[0]
    seconds = {api: median(one.seconds for one in usages[api]) for api in _APIS}
    ratio = seconds["ckct"] / seconds["callkeeper"]
    return Section(
        "unified",
        f"Historic load of {calls:,} calls through both APIs, median of {rounds}",
        [_describe(api, calls, usages[api]) for api in _APIS],
        (Target(f"the unified API takes no more than {_MOST} x the time", ratio, ratio <= _MOST),),
    )


def _describe(api: ApiName, calls: int, usages: list[Usage]) -> Row:
    seconds = median(one.seconds for one in usages)
    return {
        "api": api,
        "calls": calls,
        "seconds": seconds,
        "calls/s": calls / seconds,
        "CPU µs/call": 1e6 * median(one.cpu_sec for one in usages) / calls,
        "server CPU s": median(one.watched_cpu_sec["server"] for one in usages),
        "API CPU s": median(one.watched_cpu_sec["simulator"] for one in usages),
        "largest process MB": max(one.process_mb for one in usages),
    }
