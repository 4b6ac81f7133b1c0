"""Custom reports: ten of them over many days of raw calls that are there, in one run.

Five as JSON, five with tables, two of which have one-to-many rows and one a filter. Built for
empty tables, then again for tables that hold it all.
"""

import datetime as dt
import sys
from collections.abc import Sequence
from typing import Final

from callkeeper_assets.postgres import connect
from callkeeper_assets_tests.benchmarks.contenders import Contender, enter_product
from callkeeper_assets_tests.benchmarks.measure import Usage, run_measured
from callkeeper_assets_tests.benchmarks.report import Row, Section, Target
from callkeeper_assets_tests.benchmarks.stand import ROOT, Stand, today

ACCOUNT: Final = "reported"
_DAY: Final = dt.timedelta(days=1)
_DISTANCE: Final = 10 * _DAY
_MOST_MEGABYTES: Final = 600
_MOST_GROWTH: Final = 1.1

_JSON: Final = """\
    - name: json_{n}
      fields: [id, date, visit_info.current.cmp, visit_info.session.pgs, duration2_sec, phone2]
"""
_CALLS: Final = """\
    - name: calls_{n}
      {filters}
      structure:
        - table: bench_calls_{n}
          key: [call_id]
          columns:
            call_id: {{path: id, type: bigint}}
            called_at: {{path: date, type: timestamp}}
            campaign: {{path: visit_info.current.cmp, type: text}}
            page: {{path: visit_info.session.cpg, type: text}}
            talk_sec: {{path: duration2_sec, type: integer}}
            minutes: {{path: duration2_min, type: numeric}}
"""
_MARKS: Final = """\
    - name: marks_{n}
      structure:
        - table: bench_marks_{n}
          rows: "[{{v: 'current', m: visit_info.current}}, {{v: 'first', m: visit_info.first}}]"
          key: [call_id, visit]
          columns:
            call_id: {{parent: id, type: bigint}}
            visit: {{path: v, type: text}}
            marks: {{path: m, type: jsonb}}
"""


def write_reports(contender: Contender) -> None:
    """Add ten reports to the account's source."""
    file = contender.folder / "defs" / ACCOUNT / "defs.yaml"
    filters = "filters: [{field: status, op: eq, value: success}]"
    parts = [_JSON.format(n=n) for n in range(5)]
    parts += [_CALLS.format(n=n, filters=filters if n == 0 else "") for n in range(3)]
    parts += [_MARKS.format(n=n) for n in range(2)]
    file.write_text(file.read_text() + "  reports:\n" + "".join(parts))


def _build(contender: Contender, first: dt.date, last: dt.date) -> Usage:
    module = "callkeeper_assets_tests.benchmarks.report_run"
    return run_measured(
        [sys.executable, "-m", module, ACCOUNT, str(first), str(last)],
        environment=contender.environment(),
        folder=ROOT,
        watched=contender.stand.watched,
    )


def _count_rows(contender: Contender) -> int:
    tables = ["callkeeper_reports", *(f"bench_calls_{n}" for n in range(3))]
    tables += [f"bench_marks_{n}" for n in range(2)]
    with connect(contender.database_url) as connection:
        query = " + ".join(f"(SELECT count(*) FROM {name})" for name in tables)
        row = connection.execute(f"SELECT {query}".encode()).fetchone()
    assert row is not None
    return int(str(row[0]))


def compare_reports(stand: Stand, few_days: int, many_days: int) -> Section:
    """Measure ten reports of `ACCOUNT` over a shorter and a longer period."""
    contender = enter_product(stand, [ACCOUNT], "reports")
    last = today() - _DISTANCE
    first = last - (many_days - 1) * _DAY
    stand.warm([ACCOUNT], first, last)
    contender.load([ACCOUNT], first, last)
    write_reports(contender)
    begin = last - (few_days - 1) * _DAY
    rows: list[Row] = []
    usages = []
    known = 0
    for what, start in (
        ("few days, tables empty", begin),
        ("all days, few there", first),
        ("all days, nothing new", first),
    ):
        usage = _build(contender, start, last)
        stand.settle()
        calls, _ = stand.truth(ACCOUNT, start, last)
        held = _count_rows(contender)
        rows.append(_describe(what, calls, held, held - known, usage))
        known = held
        usages.append(usage)
    return Section("reports", "Ten custom reports in one run", rows, _check_targets(usages))


def _describe(what: str, calls: int, held: int, new: int, usage: Usage) -> Row:
    return {
        "run": what,
        "calls": calls,
        "rows held": held,
        "rows new": new,
        "seconds": usage.seconds,
        "rows/s": held / usage.seconds,
        "CPU s": usage.cpu_sec,
        "server CPU s": usage.watched_cpu_sec["server"],
        "largest process MB": usage.process_mb,
    }


def _check_targets(usages: Sequence[Usage]) -> tuple[Target, ...]:
    growth = usages[1].process_mb / usages[0].process_mb
    memory = max(usage.process_mb for usage in usages)
    return (
        Target(f"memory of a run below {_MOST_MEGABYTES} MB", memory, memory < _MOST_MEGABYTES),
        Target(f"a run grows by no more than {_MOST_GROWTH} x", growth, growth <= _MOST_GROWTH),
    )
