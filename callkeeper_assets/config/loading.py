"""Sources from their folders: `<defs>/<source>/defs.yaml`.

The one way in, for Dagster's code location and for the command line: a file is read, validated and
refused in the same words everywhere. A source that is refused never takes another one away.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from callkeeper_assets.api.names import BASE_URLS
from callkeeper_assets.config.clashes import find_clashes
from callkeeper_assets.config.errors import InvalidSourceError, MissingFolderError
from callkeeper_assets.config.models import (
    PrivacyAttributes,
    SourceAttributes,
    WebhookAttributes,
)
from callkeeper_assets.config.problems import Problem
from callkeeper_assets.config.reading import read_attributes
from callkeeper_assets.config.report_building import build_reports
from callkeeper_assets.config.source import (
    Privacy,
    Reconciliation,
    Refresh,
    Retention,
    Source,
    Webhook,
)
from callkeeper_assets.config.yaml_file import YamlFile, YamlFileError, read_yaml_file
from callkeeper_assets.home import project_root
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.warehouse.call_fields import WEBHOOK_FIELDS
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES

FILE_NAME = "defs.yaml"

_NAME = re.compile(r"[a-z][a-z0-9_]*")
# As long as PostgreSQL's identifiers, with room for a suffix.
_MAX_NAME = 60


@dataclass(frozen=True)
class BrokenSource:
    """A folder whose source is refused.

    Args:
        name: The folder's; may not be a valid source's name.
        problems: At least one, as text.
    """

    name: str
    file: Path
    problems: tuple[str, ...]


def suggest_source_name(folder: str) -> str:
    """The valid source's name nearest to a folder's name."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.lower()).strip("_")
    return (name if name[:1].isalpha() else f"source_{name}".rstrip("_"))[:_MAX_NAME]


def find_name_problem(name: str) -> str | None:
    """Say what is wrong with a source's name, which is its folder's; None for a good one."""
    if _NAME.fullmatch(name) and len(name) <= _MAX_NAME:
        return None
    return (
        f"the folder's name '{name}' is the source's name: a lower-case Latin letter, then such "
        f"letters, digits and '_', {_MAX_NAME} at most. Rename the folder, for example to "
        f"'{suggest_source_name(name)}'."
    )


def defs_folder() -> Path:
    """Where sources' folders lie: `CALLKEEPER_DEFS`, else the project's own.

    A relative value counts from the project's root, as for `CALLKEEPER_HOME`.

    Raises:
        MissingFolderError: It does not exist.
    """
    value = os.environ.get("CALLKEEPER_DEFS")
    if not value:
        return Path(__file__).resolve().parents[1] / "defs"
    folder = project_root() / Path(value).expanduser()
    if not folder.is_dir():
        raise MissingFolderError(
            f"There is no folder {folder}, which CALLKEEPER_DEFS names. Make it and put a folder "
            "with a defs.yaml into it for each source, or unset CALLKEEPER_DEFS to use the "
            "project's own sources."
        )
    return folder


def _shown(file: Path) -> str:
    root = project_root()
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)


def _refuse(file: Path, found: list[tuple[int, Problem]]) -> InvalidSourceError:
    ordered = sorted(found, key=lambda item: item[0])
    return InvalidSourceError(
        name=file.parent.name,
        file=file,
        problems=tuple(f"{_shown(file)}:{line}: {item.describe()}" for line, item in ordered),
    )


def _default_start(today: date) -> date:
    return date(today.year - 1, 1, 1)


def _group_filters(attributes: SourceAttributes) -> Mapping[str, tuple[Filter, ...]]:
    return {
        table: tuple(Filter(field=item.field, op=item.op, value=item.value) for item in items)
        for table, items in attributes.filters.items()
        if items
    }


def _build_webhook(attributes: WebhookAttributes | None) -> Webhook | None:
    if attributes is None:
        return None
    return Webhook(
        token_env=attributes.token.env,
        fields={WEBHOOK_FIELDS[ours]: theirs for ours, theirs in attributes.fields.items()},
        grace=timedelta(hours=attributes.grace_hours),
    )


def _build_privacy(attributes: PrivacyAttributes) -> Privacy:
    managers = attributes.manager_phones
    return Privacy(
        rule=Rule(
            phones=attributes.phones,
            manager_phones=attributes.phones if managers is None else managers,
            ips=attributes.ips,
            user_agents=attributes.user_agents,
            recordings=attributes.recordings,
        ),
        key_env=attributes.key.env if attributes.key else "",
    )


def _build_source(attributes: SourceAttributes, file: Path, now: datetime) -> Source:
    zone = ZoneInfo(attributes.time_zone)
    start = attributes.start_date
    return Source(
        name=file.parent.name,
        caption=attributes.caption or file.parent.name,
        api_key_env=attributes.api_key.env,
        api=attributes.api,
        base_url=attributes.base_url or BASE_URLS[attributes.api],
        time_zone=zone,
        start_date=date.fromisoformat(start)
        if start
        else _default_start(now.astimezone(zone).date()),
        history_days=attributes.history_days,
        tables=tuple(table for table in SELECTABLE_TABLES if table in attributes.tables),
        filters=_group_filters(attributes),
        refresh=Refresh(
            cron=attributes.refresh.cron,
            overlap_days=attributes.refresh.overlap_days,
            settle_after_days=attributes.refresh.settle_after_days,
        ),
        webhook=_build_webhook(attributes.webhook),
        reconciliation=Reconciliation(
            cron=attributes.reconciliation.cron,
            days=attributes.reconciliation.days,
            heal=attributes.reconciliation.heal,
        ),
        owners=tuple(attributes.owners),
        max_lost_share=attributes.max_lost_share,
        parallel_days=attributes.parallel_days,
        file=file,
        reports=build_reports(attributes.reports),
        privacy=_build_privacy(attributes.privacy),
        retention=Retention(attributes.retention.cron, attributes.retention.keep_days)
        if attributes.retention
        else None,
        role=attributes.role or "own",
        check_answers_from=attributes.check_answers_from,
    )


def load_source_file(file: Path, now: datetime | None = None) -> Source:
    """Load one source.

    Args:
        file: Its `defs.yaml`; the folder's name is the source's.
        now: The current moment, with its zone; the clock's if left out.

    Raises:
        InvalidSourceError: Something is wrong; holds all of it.
    """
    now = now or datetime.now(UTC)
    name_problem = find_name_problem(file.parent.name)
    found = [(1, Problem((), name_problem))] if name_problem else []
    try:
        yaml_file: YamlFile = read_yaml_file(file)
    except YamlFileError as error:
        raise _refuse(file, [*found, (error.line, error.problem)]) from None
    attributes, problems = read_attributes(
        yaml_file.data, suggest_source_name(file.parent.name), now
    )
    found += [(yaml_file.line(item.location), item) for item in (*yaml_file.mistakes, *problems)]
    if found:
        raise _refuse(file, found)
    return _build_source(attributes, file, now)


def _find_files(folder: Path) -> list[Path]:
    """Every defs.yaml, those that are misplaced too.

    Hidden folders are left out: a mounted Kubernetes volume keeps its copies there, and shows them
    by links, which `rglob` does not follow.
    """
    found = {
        file
        for name in ("defs.yaml", "defs.yml")
        for file in (*folder.glob(f"*/{name}"), *folder.rglob(name))
    }
    return sorted(
        file
        for file in found
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _find_misplaced(file: Path, folder: Path) -> str | None:
    if file.name != FILE_NAME:
        return f"is not read: rename it to {FILE_NAME}."
    if file.parent.parent != folder:
        return f"is not read: a source's folder lies directly in {_shown(folder)}."
    return None


def load_sources(root: Path | None = None) -> tuple[list[Source], list[BrokenSource]]:
    """Load all sources, by name.

    Args:
        root: The folder of sources' folders; `defs_folder()` if left out.

    Returns:
        The sources, and those that are refused.

    Raises:
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    folder = root or defs_folder()
    sources: list[Source] = []
    broken: dict[str, BrokenSource] = {}
    for file in _find_files(folder):
        misplaced = _find_misplaced(file, folder)
        try:
            if misplaced:
                raise _refuse(file, [(1, Problem((), misplaced))])
            sources.append(load_source_file(file))
        except InvalidSourceError as error:
            # A name is refused once: its asset's key must be unique.
            before = broken[error.name].problems if error.name in broken else ()
            broken[error.name] = BrokenSource(error.name, error.file, before + error.problems)
    for source, problems in find_clashes(sources):
        sources.remove(source)
        refusal = _refuse(source.file, problems)
        broken[source.name] = BrokenSource(source.name, source.file, refusal.problems)
    return sources, list(broken.values())
