"""The text of a new `defs.yaml`: of `callkeeper add`, and of `dg scaffold defs`."""

import json
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from callkeeper_assets.callkeeper.records import BASE_URLS, ApiName
from callkeeper_assets.config.loading import suggest_start, suggest_variable
from callkeeper_assets.config.models import COMPONENT_TYPE, locate_schema

_TEMPLATE: Final = """\
# yaml-language-server: $schema={schema}
type: {type}
attributes:
  caption: {caption}
  # The environment variable that holds the API key: never write the key here.
  api_key: {{env: {variable}}}
  # Accounts in CallKeeper's newer cabinet have another API; role (own, by_role or with_role) says
  # whose calls are asked for. `callkeeper check` tells which API a key is for.
  {api}
  # The first day to load.
  start_date: {start}
  # Your plan's limit, counted back from today (a trial has 31). Left out: unlimited.
  {history}
  # Days begin and end in this time zone.
  time_zone: {time_zone}
  # The daily re-read of recent days, in that time zone.
  refresh: {{cron: "{refresh}", overlap_days: 3}}
  # Older days compared with CallKeeper, and healed. Both minutes are drawn from the source's name,
  # so that an installation's sources do not all begin at once.
  reconciliation: {{cron: "{reconciliation}", days: 30, heal: true}}
  # Left out: all tables.
  # tables: [callkeeper_calls_facts, callkeeper_calls, general_dates, general_traffic]
  # filters:
  #   callkeeper_calls_facts:
  #     - {{field: status, op: eq, value: success}}
  # Calls of more days before today are deleted; left out: none.
  # retention: {{cron: "0 4 * * *", keep_days: 730}}
  # Personal data before anything is written: kept by default (docs/privacy.md).
  # privacy: {{phones: mask, ips: mask}}
  # Names in Dagster (docs/dagster-projects.md); `translation` says all else of an asset.
  # key_prefix: sales
  # group_name: calls
  # Custom reports: any fields of the raw calls, as JSON or in tables of your own (docs/reports.md).
  # reports:
  #   - name: calls_by_campaign
  #     fields:
  #       id: id
  #       campaign: visit_info.current.utm_campaign || visit_info.current.cmp
  #       talk_sec: duration2_sec
"""
_PLAIN: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_WORDS_OF_YAML: Final = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True)
class NewSource:
    """What the owner of a new source has said; None is what the template says by itself.

    Attributes:
        history_days: The plan's limit; None is unlimited.
        base_url: The API's address; None is that of `api`.
    """

    name: str
    caption: str | None = None
    variable: str | None = None
    api: ApiName | None = None
    base_url: str | None = None
    time_zone: str | None = None
    start_date: str | None = None
    history_days: int | None = None

    @property
    def key_variable(self) -> str:
        """The environment variable of the API key."""
        return self.variable or suggest_variable(self.name)


def _quote(text: str) -> str:
    """Write a text as YAML takes it for one: a string of JSON is one of YAML."""
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS_OF_YAML
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def render_source(new: NewSource, folder: Path, type_name: str = COMPONENT_TYPE) -> str:
    """Return the text of the `defs.yaml` that goes into `folder`."""
    api = f"api: {new.api}" if new.api and new.api != "callkeeper" else "# api: ckct"
    if new.base_url and new.base_url != BASE_URLS[new.api or "callkeeper"]:
        api += f"\n  base_url: {_quote(new.base_url)}"
    limit = new.history_days
    # Retention begins at 04:00, reports at 05:30: a refresh is between them.
    minute = zlib.crc32(new.name.encode()) % 60
    hour, late = divmod(4 * 60 + 15 + minute, 60)
    return _TEMPLATE.format(
        schema=locate_schema(folder),
        type=type_name,
        caption=_quote(new.caption or new.name),
        variable=new.key_variable,
        api=api,
        start=new.start_date or suggest_start(datetime.now(UTC).date()),
        history="# history_days: 31" if limit is None else f"history_days: {limit}",
        time_zone=new.time_zone or "Europe/Moscow",
        refresh=f"{late} {hour} * * *",
        reconciliation=f"{minute} 6 * * 0",
    )
