"""`python -m callkeeper_assets_tests.benchmarks [--short] [--only NAME]`: runs and reports them.

The short form (also with SHORT set, as `make bench SHORT=1` does) shows that all of it works. Its
numbers say nothing: little is done, by commands that are forked from a process that has imported
all, and several at once, as some of them mostly wait for a minute to be over. dlt takes part in it
only if an earlier long form has installed it.
"""

import argparse
import datetime as dt
import importlib
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callkeeper_assets_tests.benchmarks import (
    daemon,
    historic,
    many,
    privacy,
    python,
    reading,
    reconciliation,
    refreshes,
    reports,
    retention,
    unified,
)
from callkeeper_assets_tests.benchmarks.code_location import compare_loading
from callkeeper_assets_tests.benchmarks.peers_environment import find_peers, prepare_peers
from callkeeper_assets_tests.benchmarks.report import Section, format_section, write_json
from callkeeper_assets_tests.benchmarks.stand import (
    ROOT,
    Stand,
    plain_environment,
    today,
)
from callkeeper_assets_tests.benchmarks.webhook_latency import measure_latency
from callkeeper_assets_tests.benchmarks.webhooks import WebhookSizes, measure_receiver


@dataclass(frozen=True)
class _Sizes:
    """How much each benchmark does."""

    load_days: int
    memory_days: int
    refresh_pairs: int
    service: daemon.ServiceSizes
    many: tuple[int, int]
    location_sources: int
    location_rounds: int
    webhooks: WebhookSizes
    report_days: tuple[int, int]
    reconciled_days: int
    reconciled_rounds: int
    latency: tuple[int, int, float]
    retained: tuple[int, int, int, int]
    unified: tuple[int, int]
    privacy: tuple[int, int]
    python: tuple[int, int]
    reading: tuple[int, int, int]


_FULL: Final = _Sizes(
    200,
    500,
    5,
    daemon.ServiceSizes((12, 50, 300), (100, 100, 20), idle_sec=120, only_here=300, rounds=3),
    (1_000, 5),
    100,
    5,
    WebhookSizes(5, 8, 100_000),
    (20, 100),
    30,
    5,
    (100, 10, 60.0),
    (1_096, 366, 20, 5),
    (100, 3),
    (30, 5),
    (400, 5),
    (1_000_000, 10_000_000, 3),
)
_SHORT: Final = _Sizes(
    2,
    4,
    1,
    daemon.ServiceSizes((2,), (20,), idle_sec=0, only_here=300, rounds=1),
    (3, 5),
    20,
    1,
    WebhookSizes(1, 1, 2_000),
    (1, 2),
    1,
    1,
    (5, 1, 6.0),
    (8, 4, 2, 1),
    (1, 1),
    (1, 1),
    (1, 1),
    (2_000, 3_000, 1),
)
_FORMER: Final = os.environ.get("FORMER")
_BENCHMARKS: Final[dict[str, Callable[[Stand, str, _Sizes], Section]]] = {
    "historic": lambda stand, peers, sizes: historic.compare_loads(stand, peers, sizes.load_days),
    "memory": lambda stand, _, sizes: historic.compare_memory(
        stand, sizes.load_days, sizes.memory_days
    ),
    "refresh": lambda stand, peers, sizes: refreshes.compare_refreshes(
        stand, peers, sizes.refresh_pairs
    ),
    "reconcile": lambda stand, _, sizes: reconciliation.compare_reconciliations(
        stand, sizes.reconciled_days, sizes.reconciled_rounds
    ),
    "unified": lambda stand, _, sizes: unified.compare_apis(stand, *sizes.unified),
    "privacy": lambda stand, _, sizes: privacy.compare_rules(stand, *sizes.privacy),
    "python": lambda stand, _, sizes: python.compare_frames(stand, *sizes.python),
    "reading": lambda stand, _, sizes: reading.compare_sizes(stand, *sizes.reading),
    "daemon": lambda stand, _, sizes: daemon.measure_service(
        stand, sizes.service, Path(_FORMER) if _FORMER else None
    ),
    "many": lambda stand, _, sizes: many.measure_many(stand, *sizes.many),
    "reports": lambda stand, _, sizes: reports.compare_reports(stand, *sizes.report_days),
    "location": lambda stand, _, sizes: compare_loading(
        stand.folder, sizes.location_sources, sizes.location_rounds
    ),
    "retention": lambda stand, _, sizes: retention.measure_retention(stand, *sizes.retained),
    "webhooks": lambda stand, _, sizes: measure_receiver(stand, sizes.webhooks),
    "webhook-latency": lambda stand, _, sizes: measure_latency(stand, *sizes.latency),
}
# Those that dlt takes part in, whose environment takes a minute and more to make.
_WITH_PEERS: Final = frozenset({"historic", "refresh"})
# In the short form these are begun first.
_WAITING: Final = frozenset({"daemon", "many", "webhook-latency"})
_SHORT_PLACES: Final = 4


def _find_peers(names: list[str], *, is_short: bool) -> str:
    if is_short:
        return find_peers()
    return prepare_peers() if _WITH_PEERS & set(names) else ""


def _start_commands_warm() -> None:
    """Have commands forked from a process that has imported all."""
    for name in os.environ.keys() - plain_environment().keys():
        del os.environ[name]
    # Imported now: it forks who is to begin as this process does.
    warm = importlib.import_module("callkeeper_assets_tests.warm")
    subprocess.Popen = warm.WarmPopen  # type: ignore[misc]


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m callkeeper_assets_tests.benchmarks")
    parser.add_argument("--short", action="store_true", default=bool(os.environ.get("SHORT")))
    parser.add_argument("--only", action="append", choices=list(_BENCHMARKS), metavar="NAME")
    given = parser.parse_args()
    sizes = _SHORT if given.short else _FULL
    names: list[str] = given.only or list(_BENCHMARKS)
    if given.short:
        _start_commands_warm()
        names.sort(key=lambda name: name not in _WAITING)
    accounts = [
        *historic.ACCOUNTS,
        *refreshes.name_accounts(sizes.refresh_pairs),
        *(counted := daemon.list_accounts(sizes.service) | many.list_accounts(*sizes.many)),
        reports.ACCOUNT,
        reconciliation.ACCOUNT,
        retention.ACCOUNT,
        retention.BESIDE,
        unified.ACCOUNT,
        privacy.ACCOUNT,
        python.ACCOUNT,
        reading.ACCOUNT,
    ]
    oldest = today() - dt.timedelta(days=max(sizes.memory_days, sizes.retained[0]) + 30)
    sections: list[Section] = []
    with (
        Stand(accounts, oldest, counted) as stand,
        ThreadPoolExecutor(_SHORT_PLACES if given.short else 1) as pool,
    ):
        peers = pool.submit(_find_peers, names, is_short=given.short)

        def run(name: str) -> Section:
            return _BENCHMARKS[name](stand, peers.result() if name in _WITH_PEERS else "", sizes)

        try:
            for ended in [pool.submit(run, name) for name in names]:
                sections.append(ended.result())
                print(format_section(sections[-1]), flush=True)  # noqa: T201
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    file = write_json(sections, ROOT / "bench-results", is_short=given.short)
    print(f"Written: {file.relative_to(ROOT)}")  # noqa: T201


if __name__ == "__main__":
    main()
