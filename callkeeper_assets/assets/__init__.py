"""The Dagster assets of a source: what Dagster has to know of each feature, and is told of a day.

A step puts its feature's parts together, words what came of it, and judges days as they pass. Other
logic belongs into the package whose feature it is.
"""

import warnings

import dagster as dg

# Both parts of Dagster are used on purpose (a check's days, one run for many days), and would be
# warned about at every import. In force before the modules below build anything.
warnings.filterwarnings(
    "ignore", message=".*partitions_def on an AssetCheckSpec", category=dg.PreviewWarning
)
warnings.filterwarnings("ignore", message=".*`backfill_policy`", category=dg.BetaWarning)

from callkeeper_assets.assets.build import (  # noqa: E402 -- after the filters
    build_shared_definitions,
    build_source_definitions,
)

__all__ = ["build_shared_definitions", "build_source_definitions"]
