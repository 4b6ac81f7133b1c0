"""Historic load of one account with a privacy rule, beside one without: what rewriting costs.

The same calls, a thousand a day, in an empty database for each load; the rounds alternate.
"""

import datetime as dt
from statistics import median
from typing import Final

from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.contenders import PRIVACY_KEY, Contender, enter_product
from callkeeper_assets_tests.benchmarks.measure import Usage
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import Stand, today

ACCOUNT: Final = "private"
_RULES: Final = {
    "keep": "",
    "hash": f"  privacy: {{phones: hash, key: {{env: {PRIVACY_KEY}}}, ips: mask}}\n",
}
_DAY: Final = dt.timedelta(days=1)
_DISTANCE: Final = 10 * _DAY
_MOST: Final = 1.25


class UnprotectedError(AssertionError):
    """The rule was not applied to what was loaded, or something was rewritten without one."""


def compare_rules(stand: Stand, days: int, rounds: int) -> Section:
    """Load so many days with the rule and without, so many times.

    Args:
        stand: with `ACCOUNT`.
        days: how many.
        rounds: of each.
    """
    last = today() - _DISTANCE
    first = last - (days - 1) * _DAY
    stand.warm([ACCOUNT], first - _DAY, last)
    usages: dict[str, list[Usage]] = {name: [] for name in _RULES}
    for number in range(rounds):
        for name, rule in _RULES.items():
            contender = enter_product(stand, [ACCOUNT], f"privacy_{name}_{number}")
            file = contender.folder / "defs" / ACCOUNT / "defs.yaml"
            file.write_text(file.read_text() + rule)
            contender.load([ACCOUNT], first - _DAY, first - _DAY)
            stand.settle()
            usages[name].append(contender.load([ACCOUNT], first, last))
            contender.check([(ACCOUNT, first - _DAY, last)])
            _check_rule(contender, is_hashed=bool(rule))
    calls = stand.truth(ACCOUNT, first, last)[0]
    ratio = median(
        one.seconds / other.seconds
        for one, other in zip(usages["hash"], usages["keep"], strict=True)
    )
    return Section(
        "privacy",
        f"Historic load of {calls:,} calls with phones: hash, ips: mask, median of {rounds}",
        [_describe(name, calls, usages[name]) for name in _RULES],
        (Target(f"the rule takes no more than {_MOST} x the time", ratio, ratio <= _MOST),),
    )


def _check_rule(contender: Contender, *, is_hashed: bool) -> None:
    with connect(contender.database_url) as connection:
        row = connection.execute(
            "SELECT count(client_phone), count(*) FILTER (WHERE client_phone ~ '^tel_[a-p]{20}$')"
            " FROM callkeeper_calls"
        ).fetchone()
    if row is None or row[1] != (row[0] if is_hashed else 0):
        raise UnprotectedError(f"of the calls' numbers (all, hashed): {row}")


def _describe(name: str, calls: int, usages: list[Usage]) -> Row:
    seconds = median(one.seconds for one in usages)
    return {
        "phones": name,
        "calls": calls,
        "seconds": seconds,
        "calls/s": calls / seconds,
        "CPU µs/call": 1e6 * median(one.cpu_sec for one in usages) / calls,
        "server CPU s": median(one.watched_cpu_sec["server"] for one in usages),
        "largest process MB": max(one.process_mb for one in usages),
    }
