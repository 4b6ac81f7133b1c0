"""The Dagster assets of a source: wiring only, what they do lies in the other packages.

Add here what Dagster has to know. Logic belongs into the package whose feature it is. Importing
this changes nothing that others in the process go by.
"""

from callkeeper_assets.assets.build import build_shared_definitions, build_source_definitions
from callkeeper_assets.assets.translation import translate

__all__ = ["build_shared_definitions", "build_source_definitions", "translate"]
