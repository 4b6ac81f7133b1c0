"""What Dagster records of a report's days: rows, what changed, and the verdicts of its checks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from callkeeper_assets.assets.day_events import (
    log_materializations,
    log_verdicts,
)
from callkeeper_assets.assets.day_metadata import describe_counts
from callkeeper_assets.assets.report_specs import (
    NO_NEW_FIELDS,
    VALUES_FIT,
    build_report_lineage,
    list_report_checks,
    name_report_key,
)
from callkeeper_assets.config.source import Source
from callkeeper_assets.reports.definition import Report

if TYPE_CHECKING:
    from callkeeper_assets.reports.outcomes import BuiltDay

_MOST_SHOWN: Final = 20


def record_report(
    context: dg.AssetExecutionContext, source: Source, report: Report, built: Sequence["BuiltDay"]
) -> None:
    """Record each day of a report that was built, with its checks."""
    if not built:
        return
    key = name_report_key(source, report)
    metadata = {one.day: _describe_day(one) for one in built}
    # The UI shows the newest event's; in each day's it would only fill the event log.
    metadata[max(metadata)]["dagster/column_lineage"] = build_report_lineage(source, report)
    log_materializations(context, key, metadata)
    judges = {VALUES_FIT: _judge_values, NO_NEW_FIELDS: _judge_fields}
    # After the materializations: Dagster counts a check's result for the newest one only.
    log_verdicts(
        context,
        [
            (dg.AssetCheckKey(key, name), one.day, judges[name](one))
            for name in list_report_checks(report)
            for one in built
        ],
    )


def _describe_day(one: "BuiltDay") -> dict[str, Any]:
    by_table = {f"rows of {name}": rows for name, rows in one.rows.items()}
    return {
        "dagster/row_count": sum(one.rows.values()),
        **(by_table if len(by_table) > 1 else {}),
        **describe_counts(*one.counts.values()),
        "raw_calls": one.raw_calls,
        "calls": one.calls,
        "rejects": one.rejects,
    }


def _judge_values(one: "BuiltDay") -> dg.AssetCheckResult:
    if not one.rejects:
        return dg.AssetCheckResult(passed=True, metadata={"rejects": 0})
    sample = [
        {"call_id": e.call_id, "table": e.table, "column": e.column, "reason": e.reason}
        for e in one.sample
    ]
    first = one.sample[0]
    where = f"{first.table}.{first.column}" if first.column else first.table
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"{one.rejects} values do not fit and keep their rows out. The first: call "
            f"{first.call_id}, {where}: {first.reason}. All of them, with their values, are in "
            f"callkeeper_rejects."
        ),
        metadata={
            "rejects": one.rejects,
            "sample": dg.MetadataValue.json(sample),
            "sample_is_cut": len(sample) < one.rejects,
        },
        severity=dg.AssetCheckSeverity.WARN,
    )


def _judge_fields(one: "BuiltDay") -> dg.AssetCheckResult:
    new = one.new_fields
    if not new:
        return dg.AssetCheckResult(passed=True, metadata={"new_fields": 0})
    return dg.AssetCheckResult(
        passed=False,
        description=(
            f"{len(new)} fields that no day before had: {', '.join(new[:_MOST_SHOWN])}. They are "
            f"in raw calls, and reports may ask for them."
        ),
        metadata={"new_fields": len(new), "fields": list(new[:_MOST_SHOWN])},
        severity=dg.AssetCheckSeverity.WARN,
    )
