"""A source's reports from attributes that were checked."""

from collections.abc import Iterable, Mapping
from typing import Any

from callkeeper_assets.config.models import ReportAttributes, ReportTableAttributes
from callkeeper_assets.reports.definition import Report, ReportColumn, ReportTable
from callkeeper_assets.warehouse.filters import Filter


def _build_fields(given: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 -- list or mapping
    if isinstance(given, Mapping):
        return tuple(given.items())
    return tuple((path, path) for path in given or ())


def build_table(attributes: ReportTableAttributes) -> ReportTable:
    """Build one table of a report."""
    return ReportTable(
        name=attributes.table,
        key=tuple(attributes.key),
        columns=tuple(
            ReportColumn(
                name=name,
                path=column.parent or column.path or "",
                type=column.type,
                is_parent=column.parent is not None,
            )
            for name, column in attributes.columns.items()
        ),
        rows=attributes.rows,
    )


def build_reports(reports: Iterable[ReportAttributes]) -> tuple[Report, ...]:
    """Build the reports; `report_checks` has found nothing wrong with them."""
    return tuple(
        Report(
            name=one.name,
            fields=_build_fields(one.fields),
            structure=tuple(build_table(table) for table in one.structure or ()),
            filters=tuple(
                Filter(field=each.field, op=each.op, value=each.value) for each in one.filters
            ),
            on_new_field=one.on_new_field,
            cron=one.refresh.cron,
            overlap_days=one.refresh.overlap_days,
        )
        for one in reports
    )
