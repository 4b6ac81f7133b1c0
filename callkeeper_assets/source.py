"""The component `CallKeeperSource`: one `defs.yaml`, one account, its assets and jobs.

Its attributes are those of `config.models`; what they mean is decided in `config`, which needs no
Dagster. Here is only what Dagster's tools want: the class that `type:` names, and its scaffold.
"""

from typing import Self

import dagster as dg
from pydantic import BaseModel

from callkeeper_assets.assets import build_source_definitions
from callkeeper_assets.config.loading import FILE_NAME, find_name_problem, load_source_file
from callkeeper_assets.config.models import SourceAttributes
from callkeeper_assets.config.source_template import NewSource, render_source


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
        """Keep nothing: `build_defs` reads the file itself."""
        return cls()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build the source's definitions; what sources share, `definitions` adds.

        The file is read as everywhere else: what concerns several attributes is checked only there,
        and refusals name lines.

        Raises:
            InvalidSourceError: The `defs.yaml` is refused.
        """
        return build_source_definitions(load_source_file(context.path / FILE_NAME))
