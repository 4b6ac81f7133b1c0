"""What comes of a report's day, as frozen records; imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from callkeeper_assets.reports.rows import Reject
from callkeeper_assets.warehouse.records import RowCounts


@dataclass(frozen=True)
class BuiltDay:
    """A report's day that is in the warehouse now.

    Attributes:
        raw_calls: calls of the day, before filters.
        calls: those that the filters let pass.
        rows: by table of the report.
        counts: what changed, by table.
        rejects: how many; a row that was kept out counts once for each column at fault.
        sample: the first of the rejects.
        new_fields: of the raw calls, sorted; empty where the report ignores them.
    """

    report: str
    day: date
    raw_calls: int
    calls: int
    rows: Mapping[str, int]
    counts: Mapping[str, RowCounts]
    rejects: int
    sample: tuple[Reject, ...]
    new_fields: tuple[str, ...]


@dataclass(frozen=True)
class RefusedReport:
    """A report that was not built, for one day or, where `day` is None, for any."""

    report: str
    day: date | None
    reason: str


ReportOutcome = BuiltDay | RefusedReport
