"""Days of raw calls to staged rows, for all reports of a load: each call is read once.

Knows no database: what is staged, `merge` brings there.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from callkeeper_assets.raw.days import Day
from callkeeper_assets.reports.calls import find_undocumented, read_calls
from callkeeper_assets.reports.definition import Report
from callkeeper_assets.reports.merge import (
    JSON_TARGET,
    Part,
    Stage,
    StagedRow,
    Target,
    build_target,
)
from callkeeper_assets.reports.outcomes import BuiltDay, RefusedReport
from callkeeper_assets.reports.rows import JSON_TABLE, Build, Reject, Row, plan_rows
from callkeeper_assets.warehouse.records import RowCounts

# Report, day and the fields that the documentation does not name, to those that are new.
FindNewFields = Callable[[Report, date, Collection[str]], tuple[str, ...]]

_MOST_SAMPLE: Final = 10


@dataclass
class Batch:
    """What is staged of some days: rows by table, and what is known of each report's day."""

    stages: dict[str, Stage]
    rejects: list[tuple[Part, Reject]] = field(default_factory=list)
    raw_calls: dict[date, int] = field(default_factory=dict)
    calls: dict[Part, int] = field(default_factory=dict)
    new_fields: dict[Part, tuple[str, ...]] = field(default_factory=dict)
    refused: list[RefusedReport] = field(default_factory=list)

    @property
    def parts(self) -> list[Part]:
        """The reports' days that are replaced, in order."""
        return sorted(self.calls, key=lambda part: (part[1], part[0]))

    def add(self, part: Part, table: str, call_id: int, found: Row | Reject) -> None:
        """Stage a row, or note what kept it out."""
        reject: Reject | None
        if isinstance(found, Row):
            row = StagedRow(part[0], part[1], call_id, found.position, found.values)
            reject = self.stages[table].add(row)
        else:
            reject = found
        if reject is not None:
            self.rejects.append((part, reject))

    def refuse(self, part: Part, reason: str) -> None:
        """Take out what is staged of a report's day: it is not replaced."""
        for stage in self.stages.values():
            for key, row in list(stage.rows.items()):
                if (row.report, row.day) == part:
                    del stage.rows[key]
        self.rejects = [one for one in self.rejects if one[0] != part]
        del self.calls[part]
        self.refused.append(RefusedReport(*part, reason))

    def describe(self, counts: Mapping[Part, Mapping[str, RowCounts]]) -> list[BuiltDay]:
        """Return what came of each report's day; `counts` is what changed in each table."""
        rows = {part: dict.fromkeys(counts[part], 0) for part in self.parts}
        for table, stage in self.stages.items():
            for row in stage.rows.values():
                rows[row.report, row.day][table] += 1
        rejects: dict[Part, list[Reject]] = defaultdict(list)
        for part, reject in self.rejects:
            rejects[part].append(reject)
        return [
            BuiltDay(
                report=part[0],
                day=part[1],
                raw_calls=self.raw_calls[part[1]],
                calls=self.calls[part],
                rows=rows[part],
                counts=counts[part],
                rejects=len(rejects[part]),
                sample=tuple(rejects[part][:_MOST_SAMPLE]),
                new_fields=self.new_fields[part],
            )
            for part in self.parts
        ]


class Builder:
    """Builds batches of some reports of one source."""

    def __init__(
        self,
        reports: Sequence[Report],
        configured: Sequence[Report],
        find_new_fields: FindNewFields,
    ) -> None:
        self._reports = reports
        self._find_new_fields = find_new_fields
        self.plans: dict[str, dict[str, Build]] = {r.name: plan_rows(r) for r in reports}
        self.targets = _plan_targets(reports, configured)

    def build(self, days: Sequence[Day], passing: Mapping[str, frozenset[int]]) -> Batch:
        """Stage days, in their order.

        Args:
            days: in any order.
            passing: by report with filters, the ids of the calls that pass.

        Raises:
            BadDataError: a call is not JSON.
        """
        batch = Batch({name: Stage(target) for name, target in self.targets.items()})
        for raw in sorted(days, key=lambda one: one.day):
            batch.raw_calls[raw.day] = raw.calls.num_rows
            undocumented = self._build_day(batch, raw, passing)
            for report in self._reports:
                part = (report.name, raw.day)
                new = self._find_new_fields(report, raw.day, undocumented)
                batch.new_fields[part] = new
                if new and report.on_new_field == "fail":
                    batch.refuse(part, _describe_new_fields(report, raw.day, new))
        return batch

    def _build_day(self, batch: Batch, raw: Day, passing: Mapping[str, frozenset[int]]) -> set[str]:
        """Stage a day's rows; return the fields that the documentation does not name."""
        undocumented: set[str] = set()
        plans = [
            ((report.name, raw.day), passing.get(report.name), self.plans[report.name])
            for report in self._reports
        ]
        for part, _, _ in plans:
            batch.calls[part] = 0
        for call in read_calls(raw.day, raw.calls):
            find_undocumented(call.document, undocumented)
            for part, passed, builders in plans:
                if passed is not None and call.call_id not in passed:
                    continue
                batch.calls[part] += 1
                for table, build in builders.items():
                    for found in build(call):
                        batch.add(part, table, call.call_id, found)
        return undocumented


def _plan_targets(reports: Sequence[Report], configured: Sequence[Report]) -> dict[str, Target]:
    targets: dict[str, Target] = {}
    for report in reports:
        for table in report.structure:
            fillers = [
                one.name for one in configured if table.name in {t.name for t in one.structure}
            ]
            targets.setdefault(table.name, build_target(table, fillers))
        if not report.structure:
            targets.setdefault(JSON_TABLE, JSON_TARGET)
    return targets


def _describe_new_fields(report: Report, day: date, new: Sequence[str]) -> str:
    return (
        f"The report '{report.name}' is not built for {day}: its raw calls have fields that no "
        f"day before had ({', '.join(new[:_MOST_SAMPLE])}), and on_new_field is 'fail'. If they "
        f"are welcome, set on_new_field to 'warn', build the day, and set it back."
    )
