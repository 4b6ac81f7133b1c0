"""Sources in a project of others: the component `CallKeeperSource`, and `build_definitions`.

A source's attributes are those of `config.models`; what they mean is decided in `config`, which
needs no Dagster. Here is what is said to Dagster there: the class that `type:` names, its scaffold,
and names that nothing else of the project has. A project of this product is `definitions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import dagster as dg
from pydantic import BaseModel

from callkeeper_assets.assets import (
    build_shared_definitions,
    build_source_definitions,
    translate,
)
from callkeeper_assets.config.errors import InvalidSourceError
from callkeeper_assets.config.loading import (
    FILE_NAME,
    find_clashes,
    find_name_problem,
    load_source_file,
    load_sources,
    read_source,
)
from callkeeper_assets.config.models import SourceAttributes
from callkeeper_assets.config.source import Source
from callkeeper_assets.config.source_template import NewSource, render_source

# What names of jobs, schedules, sensors and steps begin with beside others of a project.
_PREFIX: Final = "callkeeper_"


def _place(source: Source, names: dg.ResolutionContext | None = None) -> Source:
    return translate(replace(source, job_prefix=_PREFIX), names)


def _build_shared(sources: Sequence[Source]) -> dg.Definitions:
    """Build what there is once, of sources that do not contradict each other.

    Raises:
        InvalidSourceError: Two do.
    """
    for source, problems in find_clashes(sources):
        # Attributes that come from no file have no lines.
        lines = (f":{line}" if source.file.is_file() else "" for line, _ in problems)
        texts = tuple(
            f"{source.file}{line}: {one.describe()}"
            for line, (_, one) in zip(lines, problems, strict=True)
        )
        raise InvalidSourceError(name=source.name, file=source.file, problems=texts)
    return build_shared_definitions(sources, prefix=_PREFIX, list_sources=lambda: sources)


def build_definitions(sources: Mapping[str, Mapping[str, Any]] | str | Path) -> dg.Definitions:
    """Build all sources' definitions, for a project that merges them with its own.

    To be called once, with all sources: jobs and sensors that they share come with them. Nothing
    is imported, set or started by it that others in the process could notice, and no resource,
    executor or logger is among what it returns.

    Args:
        sources: By name, each source's attributes as a `defs.yaml` has them; or a folder with a
            folder for each source, which `callkeeper` and the receiver of webhooks read, too.

    Raises:
        InvalidSourceError: A source is refused, or contradicts another; says all that is wrong.
        MissingFolderError: There is no such folder.
    """
    if isinstance(sources, str | Path):
        read, broken = load_sources(Path(sources).absolute())
        if broken:
            first = broken[0]
            problems = tuple(problem for one in broken for problem in one.problems)
            raise InvalidSourceError(name=first.name, file=first.file, problems=problems)
    else:
        read = [read_source(name, attributes) for name, attributes in sources.items()]
    placed = [_place(source) for source in read]
    return dg.Definitions.merge(
        _build_shared(placed), *(build_source_definitions(source) for source in placed)
    )


class SourceScaffolder(dg.Scaffolder[dg.Model]):
    """Writes a `defs.yaml` that loads as it is, and says what else can be set."""

    def scaffold(self, request: dg.ScaffoldRequest[dg.Model]) -> None:
        """Write the file.

        Raises:
            SystemExit: The folder's name cannot be a source's, or another form is asked for; said
                as `dg` says its own errors, without a traceback.
        """
        name = request.target_path.name
        problem = find_name_problem(name)
        if problem is None and (request.scaffold_format != "yaml" or request.append):
            problem = f"a source is a {FILE_NAME} of its own: leave out --format and --append."
        if problem:
            if not any(request.target_path.iterdir()):
                # `dg` has made the folder already; empty, it would only be in the way.
                request.target_path.rmdir()
            raise SystemExit(f"Error: {problem}")
        text = render_source(NewSource(name), request.target_path, request.type_name)
        (request.target_path / FILE_NAME).write_text(text, encoding="utf-8")


@dg.scaffold_with(SourceScaffolder)
class CallKeeperSource(dg.Component, dg.Resolvable):
    """One CallKeeper account: its raw calls, its tables in the warehouse, its daily refresh.

    The folder's name is the source's name. Only `api_key` is required.
    """

    def __init__(self, file: Path, names: dg.ResolutionContext) -> None:
        """Take the source's `defs.yaml`, and what names in its `{{ … }}` mean."""
        self.file = file
        self._names = names

    def read(self) -> Source:
        """Read the source, as a project of others has it.

        Raises:
            InvalidSourceError: The `defs.yaml` is refused.
        """
        return _place(load_source_file(self.file), self._names)

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg list components` shows."""
        return dg.ComponentTypeSpec(
            description="One CallKeeper account: raw calls, warehouse tables, daily refresh.",
            tags=["callkeeper"],
            produces=["asset", "asset_check", "job", "schedule"],
        )

    @classmethod
    def model(cls) -> type[BaseModel]:
        """The schema as declared: one derived by Dagster would take text for any attribute."""
        return SourceAttributes

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:  # noqa: ARG003
        """Keep where the file is: `build_defs` reads it itself."""
        loaded_from = dg.ComponentLoadContext.from_resolution_context(context)
        return cls(loaded_from.path / FILE_NAME, context)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the source's definitions; the first of a project's sources brings what all share.

        The file is read as everywhere else: what concerns several attributes is checked only there,
        and refusals name lines.

        Raises:
            InvalidSourceError: The `defs.yaml` is refused, or one that contradicts it.
        """
        source = self.read()
        components = context.component_tree.get_all_components(CallKeeperSource)
        if self.file != min(each.file for each in components):
            return build_source_definitions(source)
        everything = [each.read() for each in components]
        return dg.Definitions.merge(build_source_definitions(source), _build_shared(everything))
