"""Retention of years of calls, while loads and BI queries go on beside it; and its memory.

What it deletes is what a person types, `callkeeper retain`. Beside it another source's days are
loaded again and again, a report is read, and every fact's rows are looked for: a fact without one
of them ends the benchmark.
"""

import datetime as dt
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.contenders import Contender, enter_product
from callkeeper_assets_tests.benchmarks.measure import Usage
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import Stand, today

ACCOUNT: Final = "retained"
BESIDE: Final = "beside"
_MOST_GROWTH: Final = 1.1
_LOOK_SEC: Final = 0.02
# A look through a million facts keeps a core busy for a second.
_LOOKS_APART_SEC: Final = 5.0
# What a dashboard asks: the last month's calls by day, source and place.
_REPORT: Final = """
    SELECT d.simple_date, t.source, l.city, count(*), sum(f.duration2_sec)
    FROM callkeeper_calls_facts AS f
    JOIN general_dates AS d ON d.id = f.dates_id
    JOIN general_traffic AS t ON t.id = f.traffic_id
    JOIN general_locations AS l ON l.id = f.locations_id
    WHERE d.simple_date > current_date - 30
    GROUP BY 1, 2, 3
"""
_DANGLING: Final = """
    SELECT count(*) FROM callkeeper_calls_facts AS f
    LEFT JOIN callkeeper_calls AS c ON c.id = f.calls_id AND c.account_id = f.account_id
    LEFT JOIN general_dates AS d ON d.id = f.dates_id
    LEFT JOIN general_traffic AS t ON t.id = f.traffic_id
    LEFT JOIN general_sites AS s ON s.id = f.sites_id
    LEFT JOIN general_locations AS l ON l.id = f.locations_id
    LEFT JOIN general_clientids AS k ON k.id = f.clientids_id
    WHERE c.id IS NULL OR d.id IS NULL OR t.id IS NULL OR s.id IS NULL OR l.id IS NULL
        OR k.id IS NULL
"""
_EMPTY: Final = """
    DELETE FROM {} WHERE account_id = (SELECT account_id FROM general_accounts WHERE name = %s)
"""
_WAITS: Final = """
    SELECT pid, query_start, extract(epoch FROM clock_timestamp() - query_start)::float8
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


class DanglingFactError(AssertionError):
    """A fact referred to a row that was not there."""


@dataclass
class _Seen:
    """What was seen beside a retention."""

    report_sec: list[float] = field(default_factory=list)
    load_sec: list[float] = field(default_factory=list)
    looks: int = 0
    dangling: int = 0
    wait_sec: float = 0.0
    errors: list[BaseException] = field(default_factory=list)


class _Beside:
    """Threads that do what goes on beside a retention, until they are told to stop."""

    def __init__(self, contender: Contender, days: int) -> None:
        self._contender = contender
        self._days = days
        self._stop = threading.Event()
        self.seen = _Seen()

    @contextmanager
    def working(self) -> Iterator[_Seen]:
        """Load, read and look, inside the block.

        Raises:
            DanglingFactError: A fact was without one of its rows.
        """
        works = (self._load, self._read, self._look, self._watch)
        threads = [threading.Thread(target=self._guard, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield self.seen
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self.seen.errors:
            raise self.seen.errors[0]
        if self.seen.dangling:
            raise DanglingFactError(f"{self.seen.dangling} facts were without one of their rows")

    def _guard(self, work: Any) -> None:  # noqa: ANN401 -- a bound method
        try:
            with connect(self._contender.database_url, autocommit=True) as connection:
                while not self._stop.is_set():
                    work(connection)
        except BaseException as error:  # noqa: BLE001 -- raised again by who waits
            self.seen.errors.append(error)

    def _load(self, connection: psycopg.Connection[Any]) -> None:
        self.seen.load_sec.append(load_beside(self._contender, connection, self._days).seconds)

    def _read(self, connection: psycopg.Connection[Any]) -> None:
        self.seen.report_sec.append(_read_report(connection))
        time.sleep(5 * _LOOK_SEC)

    def _look(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute(_DANGLING).fetchone()
        self.seen.dangling += row[0] if row else 0
        self.seen.looks += 1
        time.sleep(_LOOKS_APART_SEC)

    def _watch(self, connection: psycopg.Connection[Any]) -> None:
        for _, _, waited in connection.execute(_WAITS).fetchall():
            self.seen.wait_sec = max(self.seen.wait_sec, waited)
        time.sleep(_LOOK_SEC)


def _read_report(connection: psycopg.Connection[Any]) -> float:
    began = time.perf_counter()
    connection.execute(_REPORT).fetchall()
    return time.perf_counter() - began


def load_beside(contender: Contender, connection: psycopg.Connection[Any], days: int) -> Usage:
    """Load days of the other source, of which nothing is there."""
    for table in ("callkeeper_calls_facts", "callkeeper_calls", "callkeeper_days"):
        connection.execute(_EMPTY.format(table).encode(), (BESIDE,))
    last = today()
    return contender.load([BESIDE], last - dt.timedelta(days=days - 1), last)


def configure_retention(contender: Contender, account: str, keep_days: int) -> None:
    """Have an account keep so many days."""
    file = contender.folder / "defs" / account / "defs.yaml"
    text = file.read_text().partition("  retention:")[0]
    file.write_text(f"{text}  retention: {{keep_days: {keep_days}}}\n")


def _retain(contender: Contender, keep_days: int) -> Usage:
    configure_retention(contender, ACCOUNT, keep_days)
    contender.stand.settle()
    return contender.run_product("retain", ACCOUNT, "--json")


def _describe(what: str, usage: Usage) -> Row:
    return {
        "what": what,
        "times": 1,
        "median s": usage.seconds,
        "longest s": usage.seconds,
        "CPU s": usage.cpu_sec,
        "server CPU s": usage.watched_cpu_sec["server"],
        "largest process MB": usage.process_mb,
    }


def _describe_times(what: str, seconds: Sequence[float]) -> Row:
    return {
        "what": what,
        "times": len(seconds),
        "median s": statistics.median(seconds),
        "longest s": max(seconds),
        "CPU s": None,
        "server CPU s": None,
        "largest process MB": None,
    }


def measure_retention(stand: Stand, days: int, kept: int, beside: int, rounds: int) -> Section:
    """Delete a tenth of the days, then all but the kept ones, with others at work.

    Args:
        stand: with `ACCOUNT` and `BESIDE`.
        days: how many are loaded.
        kept: how many of them stay.
        beside: how many days of the other source are loaded at a time.
        rounds: how often, and a report read, with nothing beside.
    """
    last = today()
    first = last - dt.timedelta(days=days - 1)
    stand.warm([ACCOUNT], first, last)
    stand.warm([BESIDE], last - dt.timedelta(days=beside - 1), last)
    contender = enter_product(stand, [ACCOUNT, BESIDE], "retention")
    contender.load([ACCOUNT], first, last)
    few = max(1, days // 10)
    with connect(contender.database_url, autocommit=True) as connection:
        alone = [load_beside(contender, connection, beside).seconds for _ in range(rounds)]
        reports = [_read_report(connection) for _ in range(rounds)]
    small = _retain(contender, days - few - 1)
    with _Beside(contender, beside).working() as seen:
        large = _retain(contender, kept - 1)
    with connect(contender.database_url, autocommit=True) as connection:
        load_beside(contender, connection, beside)
    contender.check(
        [
            (ACCOUNT, last - dt.timedelta(days=kept - 1), last),
            (BESIDE, last - dt.timedelta(days=beside - 1), last),
        ]
    )
    growth = large.process_mb / small.process_mb
    return Section(
        "retention",
        f"Retention: {days:,} days x 1,000 calls, {kept:,} kept, beside loads and reports; "
        f"{seen.looks} looks for facts without a row found none",
        [
            _describe(f"{few:,} days deleted, alone", small),
            _describe(f"{days - few - kept:,} days deleted, beside others", large),
            _describe_times("a report, alone", reports),
            _describe_times("a report, beside", seen.report_sec),
            _describe_times(f"a load of {beside} days, alone", alone),
            _describe_times(f"a load of {beside} days, beside", seen.load_sec),
            _describe_times("a wait for a lock, beside", [seen.wait_sec]),
        ],
        (Target(f"memory grows by {_MOST_GROWTH} x at most", growth, growth <= _MOST_GROWTH),),
    )
