"""What a step says of each of its days, for all days of an asset at once.

`context.add_asset_metadata` takes one day, and goes through all that were said before: for a year
of nine tables that is seconds, and four times as many for two years.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

# Not exported: what add_asset_metadata puts together, day by day.
from dagster._core.execution.context.metadata_logging import (
    AssetMetadataHandle,
    OutputMetadataAccumulator,
)

from callkeeper_assets.warehouse.records import RowCounts


def describe_counts(*counts: RowCounts) -> dict[str, int]:
    """Return what changed in an asset's day: rows, of all its tables together."""
    return {
        "rows_added": sum(one.added for one in counts),
        "rows_updated": sum(one.updated for one in counts),
        "rows_deleted": sum(one.deleted for one in counts),
    }


def add_day_metadata(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    metadata: Mapping[date, Mapping[str, Any]],
) -> None:
    """Add metadata of an asset's days, which must be among those that the step is for."""
    step = context.get_step_execution_context()
    said = step._metadata_accumulator  # noqa: SLF001
    step._metadata_accumulator = OutputMetadataAccumulator(  # noqa: SLF001
        per_output_metadata={
            **said.per_output_metadata,
            **{
                AssetMetadataHandle(asset_key=key, partition_key=day.isoformat()): values
                for day, values in metadata.items()
            },
        }
    )
