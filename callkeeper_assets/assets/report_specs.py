"""What Dagster's UI shows of a report: its tables' columns, where they come from, its checks."""

from typing import Any, Final

import dagster as dg

from callkeeper_assets.config.source import Source
from callkeeper_assets.reports.definition import Report, ReportTable
from callkeeper_assets.warehouse.report_tables import CALLKEEPER_REPORTS

VALUES_FIT: Final = "values_fit"
NO_NEW_FIELDS: Final = "no_new_fields"
_CHECKS: Final = {
    VALUES_FIT: (
        "Every value of the day fits its column. Rows with one that does not are left out, and the "
        "value is in callkeeper_rejects."
    ),
    NO_NEW_FIELDS: (
        "The day's raw calls have no field that neither CallKeeper's documentation nor an earlier "
        "loaded day had (on_new_field)."
    ),
}


def name_report_key(source: Source, report: Report) -> dg.AssetKey:
    """Name the asset of a report."""
    return dg.AssetKey([source.name, "reports", report.name])


def build_report_spec(
    source: Source, report: Report, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetSpec:
    """Build the spec of one report."""
    return dg.AssetSpec(
        key=name_report_key(source, report),
        deps=[dg.AssetKey([source.name, "raw_calls"])],
        partitions_def=partitions,
        group_name=source.name,
        owners=source.owners,
        description=_describe(report),
        kinds={"postgres", "report"},
        metadata={
            **_describe_tables(report),
            "look_back_days": report.overlap_days,
            "filters": " and ".join(
                f"{one.field} {one.op}" + ("" if one.value is None else f" {one.value}")
                for one in report.filters
            )
            or "none: every call",
            "on_new_field": report.on_new_field,
        },
        # Each day's materialization is logged by hand: a day without raw calls has none.
        skippable=True,
    )


def list_report_checks(report: Report) -> list[str]:
    """List the names of a report's checks."""
    return [VALUES_FIT] if report.on_new_field == "ignore" else [VALUES_FIT, NO_NEW_FIELDS]


def build_report_checks(
    source: Source, report: Report, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """Build the specs of a report's checks."""
    return [
        dg.AssetCheckSpec(
            name=name,
            asset=name_report_key(source, report),
            description=_CHECKS[name],
            partitions_def=partitions,
        )
        for name in list_report_checks(report)
    ]


def build_report_lineage(source: Source, report: Report) -> dg.TableColumnLineage:
    """Say of each column that it is made from the raw calls' JSON."""
    payload = [dg.TableColumnDep(dg.AssetKey([source.name, "raw_calls"]), "payload")]
    columns = [column.name for table in report.structure for column in table.columns]
    return dg.TableColumnLineage(dict.fromkeys(columns or ["data"], payload))


def _describe(report: Report) -> str:
    if not report.structure:
        names = ", ".join(f"`{name}`" for name, _ in report.fields)
        return (
            f"Custom report as JSON: a row of callkeeper_reports for each call, with {names} in "
            f"`data`, where `report` is '{report.name}'."
        )
    tables = (
        f"- `{table.name}`: a row for each "
        + (f"element of `{table.rows}`" if table.rows else "call")
        for table in report.structure
    )
    return "Custom report in tables of its own:\n\n" + "\n".join(tables)


def _describe_tables(report: Report) -> dict[str, Any]:
    """Return the first table as Dagster's own metadata, the others under their names."""
    if not report.structure:
        schema = dg.TableSchema(
            columns=[
                dg.TableColumn(column.name, column.type, column.description)
                for column in CALLKEEPER_REPORTS.columns
            ]
        )
        return {
            "dagster/column_schema": schema,
            "dagster/table_name": f"public.{CALLKEEPER_REPORTS.name}",
        }
    first, *others = report.structure
    return {
        "dagster/column_schema": _build_schema(first),
        "dagster/table_name": f"public.{first.name}",
        **{f"columns of {table.name}": _build_schema(table) for table in others},
    }


def _build_schema(table: ReportTable) -> dg.TableSchema:
    key = ", ".join(("account_id", *table.key))
    return dg.TableSchema(
        columns=[
            dg.TableColumn("account_id", "integer", "The source, as in general_accounts"),
            *(
                dg.TableColumn(
                    column.name,
                    column.type,
                    f"{'the call: ' if column.is_parent else ''}{column.path}",
                    constraints=dg.TableColumnConstraints(nullable=column.name not in table.key),
                )
                for column in table.columns
            ),
        ],
        constraints=dg.TableConstraints(other=[f"key: {key}"]),
    )
