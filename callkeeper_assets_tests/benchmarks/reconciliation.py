"""Reconciliation of many days in one run, beside fetching the same days alone; and its memory.

Both are the process that a command starts, by turns, on one source whose days are loaded. Before
each reconciliation some rows of each day are broken by SQL, and it must find just these. They are
measured with a source that takes its time for a day's megabyte, as one across the internet does,
and with one that answers from memory at once: fetching is then nearly free, and both are mostly the
start of a process.
"""

import datetime as dt
import json
import statistics
import sys
from collections.abc import Sequence
from typing import Final

from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.contenders import Contender, enter_product
from callkeeper_assets_tests.benchmarks.measure import Usage, run_measured
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import ROOT, Stand, today

ACCOUNT: Final = "reconciled"
_WORKER: Final = "callkeeper_assets.worker"
_FETCH: Final = "callkeeper_assets_tests.benchmarks.fetch_alone"
_BROKEN_A_DAY: Final = 3
# Times the days, for the two that show how memory grows.
_LONG: Final = 2
_LONGEST: Final = 6
_ANSWER_SEC: Final = 0.5
_MOST_RATIO: Final = 1.25
_MOST_GROWTH: Final = 1.1

_BREAK: Final = """
    WITH numbered AS (
        SELECT c.id, row_number() OVER (PARTITION BY d.simple_date ORDER BY c.id) AS place
        FROM callkeeper_calls c
        JOIN callkeeper_calls_facts f ON f.calls_id = c.id
        JOIN general_dates d ON d.id = f.dates_id
        WHERE d.simple_date BETWEEN %s AND %s
    )
    UPDATE callkeeper_calls_facts SET attempt = attempt + 50
    WHERE calls_id IN (SELECT id FROM numbered WHERE place <= %s)
"""


class WrongReconciliationError(AssertionError):
    """A reconciliation did not find just what was broken."""


def _run(contender: Contender, module: str, first: dt.date, *more: str) -> Usage:
    last = today() - dt.timedelta(days=1)
    command = [sys.executable, "-m", module, ACCOUNT, "--from", str(first), "--to", str(last)]
    # What a command adds for the processes that it starts.
    dagster = {"DAGSTER_HOME": str(ROOT), "DAGSTER_EVENT_BATCH_SIZE": "1000"}
    return run_measured(
        [*command, *more],
        environment={**contender.environment(), **dagster},
        folder=ROOT,
        watched=contender.stand.watched,
    )


def _reconcile(contender: Contender, first: dt.date, days: int) -> Usage:
    last = first + dt.timedelta(days=days - 1)
    with connect(contender.database_url, autocommit=True) as connection:
        connection.execute(_BREAK, (first, last, _BROKEN_A_DAY))
    contender.stand.settle()
    usage = _run(contender, _WORKER, first, "--reconcile")
    messages = [json.loads(line) for line in usage.output.splitlines() if line.startswith("{")]
    found = [one for m in messages if m["type"] == "Compared" for one in m["day"]["discrepancies"]]
    healed = [one for one in found if one["is_healed"] and one["parameter"] == "attempt"]
    if not len(found) == len(healed) == days * _BROKEN_A_DAY:
        raise WrongReconciliationError(
            f"{days * _BROKEN_A_DAY} rows were broken; {len(found)} found, {len(healed)} healed"
        )
    return usage


def _describe(what: str, usages: Sequence[Usage], ratio: float | None = None) -> Row:
    return {
        "run": what,
        "x alone": ratio,
        "runs": len(usages),
        "seconds, median": statistics.median(usage.seconds for usage in usages),
        "fastest": min(usage.seconds for usage in usages),
        "CPU s": statistics.median(usage.cpu_sec for usage in usages),
        "server CPU s": statistics.median(usage.watched_cpu_sec["server"] for usage in usages),
        "largest process MB": max(usage.process_mb for usage in usages),
    }


def _compare(
    contender: Contender, first: dt.date, days: int, rounds: int, *, answer_sec: float
) -> tuple[list[Row], float]:
    """Run both by turns; return their rows, and the median of the ratios."""
    alone: list[Usage] = []
    reconciled: list[Usage] = []
    contender.stand.delay(ACCOUNT, answer_sec)
    for _ in range(rounds):
        contender.stand.settle()
        alone.append(_run(contender, _FETCH, first))
        reconciled.append(_reconcile(contender, first, days))
    contender.stand.delay(ACCOUNT, 0)
    ratio = statistics.median(
        one.seconds / other.seconds for one, other in zip(reconciled, alone, strict=True)
    )
    source = f"answers in {answer_sec:g} s" if answer_sec else "answers at once"
    rows = [
        _describe(f"{days} days fetched alone, {source}", alone, 1.0),
        _describe(f"{days} days reconciled, {source}", reconciled, ratio),
    ]
    return rows, ratio


def compare_reconciliations(stand: Stand, days: int, rounds: int) -> Section:
    """Measure both, by turns, and longer reconciliations for their memory.

    Args:
        stand: with `ACCOUNT`.
        days: how many are compared; for the memory twice and six times as many. So many calls fill
            the two batches that the loader holds, which `days` may not.
        rounds: how often the shorter ones are run.
    """
    last = today() - dt.timedelta(days=1)
    first = last - dt.timedelta(days=days - 1)
    earliest = last - dt.timedelta(days=_LONGEST * days - 1)
    stand.warm([ACCOUNT], earliest, last)
    contender = enter_product(stand, [ACCOUNT], "reconcile")
    contender.load([ACCOUNT], earliest, last)
    slow_rows, ratio = _compare(contender, first, days, rounds, answer_sec=_ANSWER_SEC)
    quick_rows, _ = _compare(contender, first, days, rounds, answer_sec=0)
    long, longest = (
        _reconcile(contender, last - dt.timedelta(days=many - 1), many)
        for many in (_LONG * days, _LONGEST * days)
    )
    contender.check([(ACCOUNT, earliest, last)])
    growth = longest.process_mb / long.process_mb
    return Section(
        "reconcile",
        f"Reconciliation of {days} days x 1,000 calls in one run, beside fetching them alone",
        [
            *slow_rows,
            *quick_rows,
            _describe(f"{_LONG * days} days reconciled", [long]),
            _describe(f"{_LONGEST * days} days reconciled", [longest]),
        ],
        (
            Target(
                f"{_MOST_RATIO} x fetching alone at most, answers in {_ANSWER_SEC:g} s",
                ratio,
                ratio <= _MOST_RATIO,
            ),
            Target(f"memory grows by {_MOST_GROWTH} x at most", growth, growth <= _MOST_GROWTH),
        ),
    )
