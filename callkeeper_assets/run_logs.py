"""The name by which a `dagster.yaml` of before names where runs' output is kept."""

from callkeeper_assets.dagster_ext.storage import CallKeeperLogs

__all__ = ["CallKeeperLogs"]
