"""One source's daily refresh as the command that a person types; the product against dlt.

The runs alternate, and each pair has a source of its own, so that all of them find three new days;
the same command again finds nothing new.
"""

import datetime as dt
import statistics
from collections.abc import Sequence
from typing import Final

from callkeeper_assets_tests.benchmarks.contenders import (
    OVERLAP_DAYS,
    Contender,
    choose_peers,
    enter_peer,
    enter_product,
)
from callkeeper_assets_tests.benchmarks.measure import Usage
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import Stand, today

_MOST_RATIO: Final = 2


def name_accounts(pairs: int) -> list[str]:
    """The accounts that a stand needs: one to open the databases, one for each pair of runs."""
    return [f"refreshed_{number}" for number in range(pairs + 1)]


def _describe(contender: Contender, what: str, usages: Sequence[Usage]) -> Row:
    seconds = [usage.seconds for usage in usages]
    return {
        "loader": contender.label,
        "finds": what,
        "runs": len(usages),
        "seconds, median": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "CPU s": statistics.median(usage.cpu_sec for usage in usages),
        "server CPU s": statistics.median(usage.watched_cpu_sec["server"] for usage in usages),
        "largest process MB": max(usage.process_mb for usage in usages),
        "all processes MB": max(usage.tree_mb for usage in usages),
    }


def compare_refreshes(stand: Stand, python: str, pairs: int) -> Section:
    """Measure so many pairs of refreshes.

    Args:
        stand: with the accounts of `name_accounts`.
        python: the peers'; without it dlt does not take part.
        pairs: how often each contender refreshes.
    """
    opening, *accounts = name_accounts(pairs)
    contenders = [
        enter_product(stand, [opening, *accounts], "refresh"),
        *(
            enter_peer(stand, name, python, "_refresh")
            for name in choose_peers(["dlt_json"], python)
        ),
    ]
    first = today() - dt.timedelta(days=OVERLAP_DAYS)
    stand.warm([opening, *accounts], first, today())
    for contender in contenders:
        contender.refresh(opening)
    new: dict[str, list[Usage]] = {contender.name: [] for contender in contenders}
    known: dict[str, list[Usage]] = {contender.name: [] for contender in contenders}
    for account in accounts:
        for usages in (new, known):
            for contender in contenders:
                stand.settle()
                usages[contender.name].append(contender.refresh(account))
    for contender in contenders:
        contender.check([(account, first, today()) for account in [opening, *accounts]])
    rows = [
        _describe(contender, what, usages[contender.name])
        for what, usages in (("three new days", new), ("nothing new", known))
        for contender in contenders
    ]
    return Section(
        "refresh",
        "Daily refresh of one source, 3 days x 1,000 calls, as a command",
        rows,
        (_compare_with_dlt(new["callkeeper"], new["dlt_json"]),) if python else (),
    )


def _compare_with_dlt(products: Sequence[Usage], peers: Sequence[Usage]) -> Target:
    ratio = statistics.median(
        product.seconds / peer.seconds for product, peer in zip(products, peers, strict=True)
    )
    return Target(
        f"below {_MOST_RATIO} x dlt's process, median of pairs", ratio, ratio < _MOST_RATIO
    )
