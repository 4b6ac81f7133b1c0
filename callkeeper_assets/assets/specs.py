"""What Dagster's UI shows of a table: columns, their types and units, and where they come from.

Made from the warehouse's declared tables; nothing about a table is written down here twice.
"""

from functools import cache
from typing import Final

import dagster as dg

from callkeeper_assets.config.source import Source
from callkeeper_assets.warehouse.tables import Column, Table

RAW_CALLS_SCHEMA: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("call_id", "bigint", "The call's id in CallKeeper"),
        dg.TableColumn("called_at", "timestamp with time zone", "When it was called"),
        dg.TableColumn("payload", "text", "The call's JSON text, byte for byte as received"),
        dg.TableColumn(
            "reason", "text", "Why a record is no call; files of days without such ones lack it"
        ),
    ]
)

# Columns of raw calls that a column comes from, where that is not the payload.
_FROM_RAW_COLUMN: Final = {
    ("callkeeper_calls", "call_id"): "call_id",
    ("callkeeper_calls", "called_at"): "called_at",
}
_GENERAL_DATES: Final = "general_dates"


def build_table_spec(
    source: Source, table: Table, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetSpec:
    """Build the spec of one table of a source."""
    return dg.AssetSpec(
        key=[source.name, table.name],
        deps=_list_upstream(source, table),
        partitions_def=partitions,
        group_name=source.name,
        owners=source.owners,
        description=(
            f"{table.description}\n\nOne row per {table.grain}, key: {', '.join(table.key)}."
        ),
        kinds={"postgres", table.role},
        metadata={
            "dagster/column_schema": _build_schema(table),
            "dagster/table_name": f"public.{table.name}",
            "grain": table.grain,
            "look_back_days": source.refresh.overlap_days,
            "filters": _describe_filters(source, table),
        },
        skippable=True,
    )


def _list_upstream(source: Source, table: Table) -> list[dg.AssetKey]:
    """List what a table is made from; around a fact also the tables that its foreign keys name."""
    names = ["raw_calls", "webhook_calls"] if source.webhook else ["raw_calls"]
    if table.role == "fact":
        targets = {_name_target(column) for column in table.columns} & set(source.tables)
        names += sorted(targets - {table.name})
    return [dg.AssetKey([source.name, name]) for name in names]


def build_column_lineage(source: Source, table: Table) -> dg.TableColumnLineage:
    """Say for each column of a table which columns upstream it is made from."""
    return dg.TableColumnLineage(
        {
            column.name: [_build_dependency(source, table, column)]
            for column in table.columns
            if not column.is_internal
        }
    )


def _name_target(column: Column) -> str:
    return (column.references or "").partition(".")[0]


def _build_dependency(source: Source, table: Table, column: Column) -> dg.TableColumnDep:
    target = _name_target(column)
    if target in source.tables and target != table.name:
        return dg.TableColumnDep(
            dg.AssetKey([source.name, target]), str(column.references).partition(".")[2]
        )
    default = "called_at" if table.name == _GENERAL_DATES else "payload"
    return dg.TableColumnDep(
        dg.AssetKey([source.name, "raw_calls"]),
        _FROM_RAW_COLUMN.get((table.name, column.name), default),
    )


@cache
def _build_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type,
                description=_describe_column(column),
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable, unique=(column.name,) == table.key
                ),
            )
            for column in table.columns
        ],
        constraints=dg.TableConstraints(other=[f"grain: {table.grain}"]),
    )


def _describe_column(column: Column) -> str:
    unit = f" [{column.unit}]" if column.unit else ""
    target = f" → {column.references}" if column.references else ""
    return f"{column.description}{unit}{target}"


def _describe_filters(source: Source, table: Table) -> str:
    filters = source.filters.get(table.name, ())
    return (
        " and ".join(
            f"{one.field} {one.op}" + ("" if one.value is None else f" {one.value}")
            for one in filters
        )
        or "none: every call"
    )
