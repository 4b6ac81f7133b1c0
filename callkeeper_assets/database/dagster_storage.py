"""The name by which a `dagster.yaml` of before names Dagster's storage."""

from callkeeper_assets.dagster_ext.storage import CallKeeperStorage

__all__ = ["CallKeeperStorage"]
