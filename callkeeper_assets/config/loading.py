"""Sources from their folders (`<defs>/<source>/defs.yaml`): read, and checked with each other."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from callkeeper_assets.callkeeper.records import BASE_URLS
from callkeeper_assets.config.checks import (
    build_reports,
    describe_difference,
    find_api_problems,
    find_day_problems,
    find_filter_problems,
    find_privacy_problems,
    find_report_problems,
    find_table_problems,
)
from callkeeper_assets.config.errors import (
    InvalidSourceError,
    Location,
    MissingFolderError,
    NoProjectError,
    Problem,
    describe_unknown,
)
from callkeeper_assets.config.models import (
    COMPONENT_TYPE,
    PrivacyAttributes,
    SourceAttributes,
    WebhookAttributes,
)
from callkeeper_assets.config.source import (
    Privacy,
    Reconciliation,
    Refresh,
    Retention,
    Source,
    Webhook,
)
from callkeeper_assets.config.yaml_file import YamlFile, YamlFileError, read_yaml_file
from callkeeper_assets.home import find_project, project_root
from callkeeper_assets.language import look_up, mark, tr
from callkeeper_assets.local_time import open_zone
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.raw.fields import WEBHOOK_FIELDS
from callkeeper_assets.reports.definition import ReportTable
from callkeeper_assets.warehouse.filters import Filter
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES

# Of each source's jobs beside those of its reports; with more of them the check only grows.
_JOBS: Final = ("historic_load", "refresh", "reconciliation", "retention", "webhooks", "reports")

# Dagster's own keys of a defs.yaml. `requirements` only lists variables for `dg`.
_FILE_KEYS = ("type", "attributes", "requirements")
_CHOICE = re.compile(r"'([^']*)'")
# By pydantic's kinds of errors, filled in from their context.
_TEXTS = {
    "missing": mark("is required and missing."),
    "value_error": "{error}",
    "greater_than_equal": mark("must be at least {ge}."),
    "less_than_equal": mark("must be at most {le}."),
    "too_short": mark("is empty: choose at least one, or leave it out for the default."),
    "string_type": mark("must be text; in quotes if it looks like a number, a date or yes/no."),
    "int_type": mark("must be a whole number."),
    "float_type": mark("must be a number."),
    "bool_type": mark("must be true or false."),
    "list_type": mark("must be a list."),
    "dict_type": mark("must be a mapping of names to values."),
    "model_type": mark("must be a mapping of names to values."),
}

# Attributes that name the variable of a secret: what it is called, and how a variable's name ends.
_SECRETS: Mapping[Location, tuple[str, str, str]] = {
    ("api_key",): (mark("key"), "API_KEY", mark("replace it in CallKeeper")),
    ("webhook", "token"): (mark("token"), "WEBHOOK_TOKEN", mark("make a new one")),
    ("privacy", "key"): (mark("key"), "PRIVACY_KEY", mark("make a new one")),
}

FILE_NAME = "defs.yaml"

_KIND = re.compile(r"^type: *['\"]?([\w.]+)", re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# As long as PostgreSQL's identifiers, with room for a suffix.
_MAX_NAME = 60
_NAME_RULE = f"a lower-case Latin letter, then such letters, digits and '_', {_MAX_NAME} at most"


def _list_tables(source: Source) -> Iterator[tuple[Location, ReportTable]]:
    for index, report in enumerate(source.reports):
        for place, table in enumerate(report.structure):
            yield ("attributes", "reports", index, "structure", place, "table"), table


def _list_jobs(source: Source) -> Iterator[tuple[Location, str, str]]:
    """Yield where a job's name comes from, the name, and what of the source has it."""
    for name in _JOBS:
        yield (), f"{source.name}_{name}", tr("the folder")
    for index, report in enumerate(source.reports):
        location = ("attributes", "reports", index, "name")
        yield (
            location,
            f"{source.name}_report_{report.name}",
            tr("the report '{name}'", name=report.name),
        )


class _Known:
    """What the sources before have."""

    def __init__(self) -> None:
        self._forms: dict[str, tuple[str, dict[str, str]]] = {}
        self._jobs: dict[str, tuple[str, str]] = {}

    def find_problems(self, source: Source) -> Iterator[Problem]:
        for location, table in _list_tables(source):
            first, known = self._forms.get(table.name, ("", table.form))
            if known != table.form:
                yield Problem(
                    location,
                    tr(
                        "'{name}' is filled by a report of the source '{first}' too, which says "
                        "otherwise ({difference}). Make them agree, or choose another name.",
                        name=table.name,
                        first=first,
                        difference=describe_difference(table.form, known),
                    ),
                )
        for location, job, mine in _list_jobs(source):
            if job in self._jobs:
                first, theirs = self._jobs[job]
                yield Problem(
                    location,
                    tr(
                        "the source's job '{job}' would be named like one of the source "
                        "'{first}': rename {mine}, or {theirs} there.",
                        job=job,
                        first=first,
                        mine=mine,
                        theirs=theirs,
                    ),
                )

    def add(self, source: Source) -> None:
        for _, table in _list_tables(source):
            self._forms.setdefault(table.name, (source.name, table.form))
        self._jobs.update((job, (source.name, mine)) for _, job, mine in _list_jobs(source))


def find_clashes(sources: Sequence[Source]) -> list[tuple[Source, list[tuple[int, Problem]]]]:
    """Return the sources that contradict one before them, in the order of `sources`.

    Returns:
        Each with its problems and their lines.
    """
    known = _Known()
    clashes = []
    for source in sources:
        found = list(known.find_problems(source))
        if found:
            lines = read_yaml_file(source.file) if source.file.is_file() else None
            clashes.append(
                (source, [(lines.line(one.location) if lines else 1, one) for one in found])
            )
        else:
            known.add(source)
    return clashes


def _model_at(location: Location) -> type[BaseModel]:
    """Return the model that holds the location's last part, by the types on the way to it."""
    kind: Any = SourceAttributes
    for part in location[:-1]:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(part)].annotation
        else:
            # A list's or a mapping's values.
            kind = get_args(kind)[-1]
        if type(None) in get_args(kind):
            kind = get_args(kind)[0]
    model: type[BaseModel] = kind
    return model


def _describe_extra(location: Location) -> str:
    name = str(location[-1])
    return describe_unknown("attribute", name, _model_at(location).model_fields)


def _describe(error: ErrorDetails) -> str:
    location, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        return _describe_extra(location)
    if kind == "literal_error":
        allowed = _CHOICE.findall(error["ctx"]["expected"])
        return describe_unknown(str(location[-1]), str(error["input"]), allowed)
    # Another kind would be a bound that models.py has and this table has not: pydantic's words.
    return look_up(_TEXTS.get(kind, f"{error['msg']}.")).format_map(error.get("ctx", {}))


def _find_problems(error: ValidationError, name: str) -> Iterator[Problem]:
    """Translate pydantic's errors; those of a secret become one, which quotes nothing."""
    refused: set[Location] = set()
    for details in error.errors(include_url=False):
        location = tuple(part for part in details["loc"] if part != "[key]")
        secret = next((one for one in _SECRETS if location[: len(one)] == one), None)
        if secret is None:
            text = _describe({**details, "loc": location})
            yield Problem(("attributes", *location), text)
        elif secret not in refused:
            refused.add(secret)
            is_missing = details["type"] == "missing" and location == secret
            yield Problem(
                ("attributes", *secret), _describe_secret(secret, name, is_missing=is_missing)
            )


def _describe_secret(secret: Location, name: str, *, is_missing: bool) -> str:
    name_of, ending, remedy = _SECRETS[secret]
    what = look_up(name_of)
    text = tr(
        "must name the environment variable that holds the {what}, never a {what} itself: "
        "{secret}: {{env: {prefix}_{ending}}}.",
        what=what,
        secret=secret[-1],
        prefix=name.upper(),
        ending=ending,
    )
    if is_missing:
        return text
    return tr(
        "{said} If a {what} stands here, {remedy}: files are copied.",
        said=text,
        what=what,
        remedy=look_up(remedy),
    )


def suggest_variable(name: str) -> str:
    """The environment variable that a source's key would usually be in."""
    return f"{name.upper()}_{_SECRETS[('api_key',)][1]}"


def _find_file_problems(data: object) -> Iterator[Problem]:
    if not isinstance(data, Mapping):
        yield Problem(
            (),
            tr(
                "must be a mapping with type and attributes: type: {component_type}",
                component_type=COMPONENT_TYPE,
            ),
        )
        return
    for key in data:
        if key not in _FILE_KEYS:
            yield Problem((str(key),), describe_unknown("key", str(key), _FILE_KEYS))
    if "type" not in data:
        yield Problem(
            (), tr("type is missing: type: {component_type}", component_type=COMPONENT_TYPE)
        )
    elif data["type"] != COMPONENT_TYPE:
        yield Problem(
            ("type",),
            tr(
                "only sources are loaded from here. Allowed: {component_type}.",
                component_type=COMPONENT_TYPE,
            ),
        )
    if not isinstance(data.get("attributes"), Mapping):
        yield Problem(("attributes",), tr("must be a mapping, at the least with api_key."))


def read_attributes(
    data: object, name: str, now: datetime
) -> tuple[SourceAttributes, tuple[Problem, ...]]:
    """Read a file's data.

    Args:
        data: As YAML gives it.
        name: The source's.
        now: To know which days are in the future.

    Returns:
        Attributes that can be used only if there are no problems, and all problems.
    """
    problems = list(_find_file_problems(data))
    given: Any = data.get("attributes") if isinstance(data, Mapping) else None
    # YAML's keys can be anything: `on` is true, `1` a number.
    values = {str(key): value for key, value in given.items()} if isinstance(given, Mapping) else {}
    refused: set[object] = set()
    try:
        attributes = SourceAttributes.model_validate(values)
    except ValidationError as error:
        found = tuple(_find_problems(error, name))
        if isinstance(given, Mapping):
            problems += found
        refused = {problem.location[1] for problem in found}
        good = {key: value for key, value in values.items() if key not in refused}
        if "api_key" in refused:
            good["api_key"] = {"env": suggest_variable("any")}
        attributes = SourceAttributes.model_validate(good)
    problems += find_table_problems(attributes)
    problems += find_filter_problems(attributes, tables_known="tables" not in refused)
    problems += find_privacy_problems(attributes, name)
    problems += find_report_problems(attributes)
    if "api" not in refused:
        problems += find_api_problems(attributes)
    problems += find_day_problems(
        attributes, now.astimezone(open_zone(attributes.time_zone)).date()
    )
    return attributes, tuple(problems)


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


def is_name(name: str) -> bool:
    """Whether a source may be called so."""
    return _NAME.fullmatch(name) is not None and len(name) <= _MAX_NAME


def find_name_problem(name: str, *, is_new: bool = False) -> str | None:
    """Say what is wrong with a source's name, which is its folder's; None for a good one.

    Args:
        name: The name.
        is_new: Whether there is no folder yet.
    """
    if is_name(name):
        return None
    other = f"'{suggest_source_name(name)}'"
    if is_new:
        return tr(
            "'{name}' is no name for a source: {name_rule}. Choose another, for example {other}.",
            name=name,
            name_rule=_NAME_RULE,
            other=other,
        )
    return tr(
        "the folder's name '{name}' is the source's name: {name_rule}. Rename the folder, for "
        "example to {other}.",
        name=name,
        name_rule=_NAME_RULE,
        other=other,
    )


def defs_folder() -> Path:
    """Where sources' folders lie: `CALLKEEPER_DEFS`, else the project's own.

    A relative value counts from the project's root, as for `CALLKEEPER_HOME`.

    Raises:
        MissingFolderError: It does not exist, or there is no project.
    """
    value = os.environ.get("CALLKEEPER_DEFS")
    if not value:
        project = find_project()
        if project is None:
            raise NoProjectError(project_root())
        return project.defs
    folder = project_root() / Path(value).expanduser()
    if not folder.is_dir():
        raise MissingFolderError(
            tr(
                "There is no folder {folder}, which CALLKEEPER_DEFS names. Make it and put a "
                "folder with a defs.yaml into it for each source, or unset CALLKEEPER_DEFS to use "
                "the project's own sources.",
                folder=folder,
            )
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


def suggest_start(today: date) -> date:
    """The first day that a source loads, unless its owner says another."""
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


def _build_source(name: str, attributes: SourceAttributes, file: Path, now: datetime) -> Source:
    zone = open_zone(attributes.time_zone)
    start = attributes.start_date
    return Source(
        name=name,
        caption=attributes.caption or name,
        api_key_env=attributes.api_key.env,
        api=attributes.api,
        base_url=attributes.base_url or BASE_URLS[attributes.api],
        time_zone=zone,
        start_date=date.fromisoformat(start)
        if start
        else suggest_start(now.astimezone(zone).date()),
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
        key_prefix=tuple(attributes.key_prefix),
        group_name=attributes.group_name or "",
        translation=attributes.translation,
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
    return _build_source(file.parent.name, attributes, file, now)


def read_source(name: str, attributes: Mapping[str, Any], now: datetime | None = None) -> Source:
    """Make a source of attributes as a `defs.yaml` has them.

    Raises:
        InvalidSourceError: Something is wrong; holds all of it, without lines.
    """
    now = now or datetime.now(UTC)
    # Named where the file would be, for people.
    place = Path(f"the attributes of {name}")
    data = {"type": COMPONENT_TYPE, "attributes": attributes}
    read, problems = read_attributes(data, suggest_source_name(name), now)
    texts = [f"{place}: {problem.describe()}" for problem in problems]
    if not is_name(name):
        rule = tr(
            "a source's name is {name_rule}, for example '{example}'.",
            name_rule=_NAME_RULE,
            example=suggest_source_name(name),
        )
        texts.insert(0, f"{place}: {rule}")
    if texts:
        raise InvalidSourceError(name=name, file=place, problems=tuple(texts))
    return _build_source(name, read, place, now)


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
        return tr("is not read: rename it to {file_name}.", file_name=FILE_NAME)
    if file.parent.parent != folder:
        return tr("is not read: a source's folder lies directly in {shown}.", shown=_shown(folder))
    return None


def _is_of_others(file: Path) -> bool:
    """Whether a file makes another component than ours, and no mistake in the name of ours."""
    kinds = _KIND.findall(file.read_text("utf-8", errors="replace"))
    return bool(kinds) and not any("callkeeper" in kind.lower() for kind in kinds)


def load_sources(
    root: Path | None = None, *, refuses_others: bool = False
) -> tuple[list[Source], list[BrokenSource]]:
    """Load all sources, by name.

    Args:
        root: The folder of sources' folders; `defs_folder()` if left out.
        refuses_others: Whether other components in it are refused, as where nobody loads them.

    Returns:
        The sources, and those that are refused.

    Raises:
        MissingFolderError: `CALLKEEPER_DEFS` names a folder that does not exist.
    """
    folder = root or defs_folder()
    if not folder.is_dir() and root:
        raise MissingFolderError(tr("There is no folder {folder}.", folder=folder))
    sources: list[Source] = []
    broken: dict[str, BrokenSource] = {}
    for file in _find_files(folder):
        misplaced = _find_misplaced(file, folder)
        try:
            if misplaced:
                raise _refuse(file, [(1, Problem((), misplaced))])
            sources.append(load_source_file(file))
        except InvalidSourceError as error:
            if not refuses_others and _is_of_others(file):
                continue
            # A name is refused once: its asset's key must be unique.
            before = broken[error.name].problems if error.name in broken else ()
            broken[error.name] = BrokenSource(error.name, error.file, before + error.problems)
    for source, problems in find_clashes(sources):
        sources.remove(source)
        refusal = _refuse(source.file, problems)
        broken[source.name] = BrokenSource(source.name, source.file, refusal.problems)
    return sources, list(broken.values())
