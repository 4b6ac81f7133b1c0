"""A source as the warehouse knows it."""

from callkeeper_assets.config.source import Source
from callkeeper_assets.warehouse.records import Account


def build_account(source: Source) -> Account:
    """Build the warehouse's account of a source."""
    return Account(name=source.name, caption=source.caption, time_zone=source.time_zone)
