"""What `translation` of a source makes of its assets, in the manner of Dagster's own integrations.

Keys have to be known before anything is built, as jobs, checks and events name them: so a source is
built once as it is, its assets are translated, and it is built again under the new keys. All else
of an asset is changed last.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import dagster as dg
from dagster.components.resolved.core_models import AssetAttributesModel
from dagster.components.resolved.errors import ResolutionException
from dagster.components.utils import TranslatorResolvingInfo
from dagster_shared.error import DagsterError

from callkeeper_assets.assets.build import build_source_definitions, build_webhook_assets
from callkeeper_assets.config.errors import InvalidSourceError
from callkeeper_assets.config.loading import BrokenSource
from callkeeper_assets.config.source import Source

_Translation: TypeAlias = Callable[[dg.AssetSpec], dg.AssetSpec]


def translate(source: Source, context: dg.ResolutionContext | None = None) -> Source:
    """Return the source as its translation has it.

    Args:
        source: As configured.
        context: What names in `{{ … }}` mean; Dagster's own if left out.

    Raises:
        InvalidSourceError: The translation cannot be applied.
    """
    if source.translation is None:
        return source
    plain = dg.Definitions.merge(build_source_definitions(source), build_webhook_assets([source]))
    specs = plain.resolve_all_asset_specs()
    try:
        apply = _read_translation(source, context or dg.ResolutionContext.default())
        translated = [apply(spec) for spec in specs]
    # What a person wrote is evaluated: Dagster's own errors, pydantic's, and those of values.
    except (ResolutionException, DagsterError, ValueError, TypeError) as error:
        raise _refuse(source, f"translation: {str(error).strip()}") from error
    paths = [tuple(spec.key.path) for spec in translated]
    repeated = [path for path, count in Counter(paths).items() if count > 1]
    if repeated:
        raise _refuse(
            source,
            f"translation: several assets would have the key {'/'.join(repeated[0])}; let it "
            "depend on each asset, such as by {{ spec.key.path[-1] }}.",
        )
    depth = len(source.folder)
    names = ["/".join(spec.key.path[depth:]) for spec in specs]
    by_key = {spec.key: spec for spec in translated}

    def change(spec: dg.AssetSpec) -> dg.AssetSpec:
        wanted = by_key.get(spec.key, spec)
        # What an asset is made from, and by which days, is not the translation's to say.
        return wanted.replace_attributes(deps=spec.deps, partitions_def=spec.partitions_def)

    return replace(source, keys=dict(zip(names, paths, strict=True)), change_spec=change)


def translate_all(
    sources: Sequence[Source], broken: Sequence[BrokenSource]
) -> tuple[list[Source], list[BrokenSource]]:
    """Return the sources as their translations have them, and all that are refused."""
    translated, refused = [], list(broken)
    for source in sources:
        try:
            translated.append(translate(source))
        except InvalidSourceError as error:
            refused.append(BrokenSource(error.name, error.file, error.problems))
    return translated, refused


def _read_translation(source: Source, context: dg.ResolutionContext) -> _Translation:
    written = source.translation
    info = TranslatorResolvingInfo(
        asset_attributes=(
            written if isinstance(written, str) else AssetAttributesModel.model_validate(written)
        ),
        resolution_context=context,
        model_key="translation",
    )
    return lambda spec: info.get_asset_spec(spec, {"spec": spec, "source": source.name})


def _refuse(source: Source, text: str) -> InvalidSourceError:
    return InvalidSourceError(
        name=source.name, file=source.file, problems=(f"{source.file}: {text}",)
    )
