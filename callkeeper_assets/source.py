"""The component `CallKeeperSource`: one `defs.yaml`, one account, its assets and jobs.

Its attributes are those of `config.models`; what they mean is decided in `config`, which needs no
Dagster. Here is only what Dagster's tools want: the class that `type:` names, and its scaffold.
"""

from datetime import UTC, datetime
from typing import Self

import dagster as dg
from pydantic import BaseModel

from callkeeper_assets.assets import build_source_definitions
from callkeeper_assets.config.loading import (
    FILE_NAME,
    find_name_problem,
    load_source_file,
    suggest_variable,
)
from callkeeper_assets.config.models import SourceAttributes, locate_schema

_TEMPLATE = """\
# yaml-language-server: $schema={schema}
type: {type}
attributes:
  caption: {name}
  # The environment variable that holds the API key: never write the key here.
  api_key: {{env: {variable}}}
  # Accounts in CallKeeper's newer cabinet have another API; role (own, by_role or with_role) says
  # whose calls are asked for. `callkeeper check` tells which API a key is for.
  # api: ckct
  # The first day to load.
  start_date: {start}
  # Your plan's limit, counted back from today (a trial has 31). Left out: unlimited.
  # history_days: 31
  # Days begin and end in this time zone.
  time_zone: Europe/Moscow
  # The daily re-read of recent days, in that time zone.
  refresh: {{cron: "0 5 * * *", overlap_days: 3}}
  # Older days compared with CallKeeper, and healed; these are the defaults.
  # reconciliation: {{cron: "0 6 * * 0", days: 30, heal: true}}
  # Left out: all tables.
  # tables: [callkeeper_calls_facts, callkeeper_calls, general_dates, general_traffic]
  # filters:
  #   callkeeper_calls_facts:
  #     - {{field: status, op: eq, value: success}}
  # Calls of more days before today are deleted; left out: none.
  # retention: {{cron: "0 4 * * *", keep_days: 730}}
  # Personal data before anything is written: kept by default (docs/privacy.md).
  # privacy: {{phones: mask, ips: mask}}
  # Custom reports: any fields of the raw calls, as JSON or in tables of your own (docs/reports.md).
  # reports:
  #   - name: calls_by_campaign
  #     fields: [id, date, visit_info.current.utm_campaign, duration2_sec]
"""


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
        text = _TEMPLATE.format(
            schema=locate_schema(request.target_path),
            type=request.type_name,
            name=name,
            variable=suggest_variable(name),
            start=f"{datetime.now(UTC).year - 1}-01-01",
        )
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
