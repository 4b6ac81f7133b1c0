"""Under which key each asset of a source is."""

import dagster as dg

from callkeeper_assets.config.source import Source


def asset_key(source: Source, *name: str) -> dg.AssetKey:
    """Return the key of a source's asset, such as `raw_calls`, or `reports` and a report's name."""
    return dg.AssetKey(source.key_path(*name))
