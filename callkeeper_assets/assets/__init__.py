"""The Dagster assets of a source: what Dagster has to know of each feature, and is told of a day.

A step puts its feature's parts together, words what came of it, and judges days as they pass. Other
logic belongs into the package whose feature it is. Importing this changes nothing
that others in the process go by.
"""

from callkeeper_assets.assets.build import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.translation import translate

__all__ = ["build_shared_definitions", "build_source_definitions", "translate"]
