"""What a step says of the rows of its days."""

from callkeeper_assets.warehouse.records import RowCounts


def describe_counts(*counts: RowCounts) -> dict[str, int]:
    """Return what changed in an asset's day: rows, of all its tables together."""
    return {
        "rows_added": sum(one.added for one in counts),
        "rows_updated": sum(one.updated for one in counts),
        "rows_deleted": sum(one.deleted for one in counts),
    }
