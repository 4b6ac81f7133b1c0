"""Under which key each asset of a source is, and what a translation makes of its asset.

A translation is Dagster's: a function of an asset's spec, as `translation` of a defs.yaml describes
it. Keys have to be known before anything is built, as jobs, checks and events name them; all else
of a spec is changed last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import dagster as dg

from callkeeper_assets.config.source import Source

Translation: TypeAlias = Callable[[dg.AssetSpec], dg.AssetSpec]


def asset_key(source: Source, *name: str) -> dg.AssetKey:
    """Return the key of a source's asset."""
    return dg.AssetKey(source.key_path(*name))


def translate_keys(source: Source, specs: Sequence[dg.AssetSpec], translate: Translation) -> Source:
    """Return the source with the keys that a translation gives to its assets.

    Args:
        source: Whose keys are not translated yet.
        specs: Of all its assets, as they are without a translation.
        translate: The translation.
    """
    depth = len(source.folder)
    return replace(
        source,
        keys={"/".join(spec.key.path[depth:]): tuple(translate(spec).key.path) for spec in specs},
    )


def translate_specs(
    definitions: dg.Definitions, translated: Mapping[dg.AssetKey, dg.AssetSpec]
) -> dg.Definitions:
    """Give assets all that a translation says of them but their keys, which they have.

    Args:
        definitions: Built under the translated keys.
        translated: By that key, what the translation made of the asset's spec.
    """

    def change(spec: dg.AssetSpec) -> dg.AssetSpec:
        wanted = translated.get(spec.key)
        if wanted is None:
            return spec
        # What an asset is made from, and by which days, is none of the translation's.
        return wanted.replace_attributes(deps=spec.deps, partitions_def=spec.partitions_def)

    return definitions.map_asset_specs(func=change)
