"""The attributes a user may write in `defs.yaml`: names, types, bounds, descriptions.

Addresses and cron expressions are checked here, too; `find_last_tick` and `find_next_tick` say when
a cron is due. Run as a program it writes callkeeper_assets/defs.schema.json, by which editors
complete and check a defs.yaml; what a schema cannot say, `callkeeper check` does.
"""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from callkeeper_assets.callkeeper.records import (
    CHECK_ANSWERS_FROM,
    ApiName,
    CallRole,
    strip_address,
)
from callkeeper_assets.config.errors import describe_unknown, suggest_name
from callkeeper_assets.home import find_project
from callkeeper_assets.language import tr
from callkeeper_assets.local_time import list_zone_names
from callkeeper_assets.privacy.rule import Action, PhoneAction
from callkeeper_assets.raw.fields import WEBHOOK_FIELDS
from callkeeper_assets.reports.definition import (
    REPORT_NAME_PATTERN,
    ColumnType,
    OnNewField,
    find_report_name_problem,
)
from callkeeper_assets.warehouse.filters import FilterOp
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

# name, least, greatest, names of the values
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)

_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>\d+))?")

_SUNDAY = 7
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# February 29 comes once in eight years around a century that has none.
_MOST_DAYS = 9 * 366

# CallKeeper's keys: 32 hexadecimal characters, older ones 16 letters and digits.
# A token made at random has small letters, capitals and digits, or is hexadecimal: what looks so is
# a secret in place of a variable's name, and would be shown as the name of what is not set.
_KEY = re.compile(
    r"[0-9a-fA-F]{32,}|(?=.*[0-9])[0-9A-Za-z]{16}|(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])\w{16,}"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
# Dagster's own rules, which it applies only when it builds the assets.
_OWNER = re.compile(r"team:[A-Za-z0-9_-]+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z|]{2,7}")

# What people call zones of Russia, that is not near to their names.
_ZONES_AS_SAID: Final = {
    "Europe/Kaliningrad": "калининград eet",
    "Europe/Moscow": "msk мск moskva москва московское spb спб saintpetersburg "
    "санктпетербург петербург utc+3 gmt+3 russianstandardtime",
    "Europe/Samara": "samt самара utc+4",
    "Asia/Yekaterinburg": "yekt екатеринбург ekaterinburg ekb utc+5",
    "Asia/Omsk": "omst омск",
    "Asia/Novosibirsk": "novt новосибирск",
    "Asia/Krasnoyarsk": "krat красноярск",
    "Asia/Irkutsk": "irkt иркутск",
    "Asia/Yakutsk": "yakt якутск",
    "Asia/Vladivostok": "vlat владивосток",
    "Asia/Kamchatka": "pett камчатка petropavlovsk",
}

_GROUP = re.compile(r"[A-Za-z0-9_]+")
_KEY_PART = re.compile(r"[A-Za-z0-9_.-]+")

# CallKeeper is younger; a slip such as 0206 would make hundreds of thousands of partitions.
_EARLIEST_DAY = date(2010, 1, 1)

_LIST_OF_TEXTS = {"type": "array", "items": {"type": "string"}}
_TRANSLATION_SCHEMA = {"anyOf": [{"type": "object"}, {"type": "string"}]}

# A list's entries are their own names; what is wrong with one is said with its place in the list.
_FIELDS_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
    ]
}


def check_address(value: str) -> str:
    """Return the address without what it may end in.

    Raises:
        ValueError: It is no address, or more than one: what a person can do about it.
    """
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_good = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_good:
        raise ValueError(tr("must be an address such as https://api.callkeeper.ru."))
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(tr("must be scheme, host and path alone, without user, '?' or '#'."))
    return strip_address(value)


def _read_number(text: str, names: dict[str, int]) -> int:
    return names.get(text.lower(), int(text) if text.isascii() and text.isdigit() else -1)


def _read_part(part: str, least: int, greatest: int, names: dict[str, int]) -> set[int] | None:
    match = _PART.fullmatch(part)
    if match is None or (match["first"] == "*" and match["last"]):
        return None
    step = int(match["step"] or 1)
    if match["first"] == "*":
        first, last = least, greatest
    else:
        first = _read_number(match["first"], names)
        last = _read_number(match["last"], names) if match["last"] else first
        # A step needs a range, and a range of one value means something else to Dagster.
        if (match["step"] and not match["last"]) or (match["last"] and first == last):
            return None
    # Dagster warns of a greater step, and its weekdays end at 6 (Sunday is 0 and 7).
    if not least <= first <= last <= greatest or not 1 <= step <= max(1, last - (last == _SUNDAY)):
        return None
    return set(range(first, last + 1, step))


def find_cron_problem(cron: str) -> str | None:
    """Say what is wrong with a cron expression; None if it will be due some day."""
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        return tr(
            "'{cron}' has {count} fields; a cron expression has 5: minute, hour, day of the "
            "month, month, day of the week, for example '0 5 * * *'.",
            cron=cron,
            count=len(fields),
        )
    values: list[set[int]] = []
    for text, (name, least, greatest, names) in zip(fields, _FIELDS, strict=True):
        parts = [_read_part(part, least, greatest, names) for part in text.split(",")]
        if any(part is None for part in parts):
            return tr(
                "'{said}', the {name} of '{cron}', is impossible: allowed are * and "
                "{least}-{greatest}, lists (1,2), ranges (1-5) and steps (*/2, 1-9/2).",
                said=text,
                name=name,
                cron=cron,
                least=least,
                greatest=greatest,
            )
        values.append(set().union(*(part for part in parts if part is not None)))
    days, months = values[2], values[3]
    # With both fields given cron takes either, so a weekday makes any date possible.
    if fields[4] == "*" and not any(min(days) <= _LONGEST[month - 1] for month in months):
        return tr("'{cron}' is never due: none of its months has such a day.", cron=cron)
    return None


def _list_ticks(cron: str, day: date, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield when a good expression is due on a day, in order, in UTC.

    A time that the clock skips is due as much later as the clock is put forward.
    """
    fields = cron.split()
    values: list[set[int]] = []
    for text, (_, least, greatest, names) in zip(fields, _FIELDS, strict=True):
        parts = (_read_part(part, least, greatest, names) or set() for part in text.split(","))
        values.append(set().union(*parts))
    minutes, hours, days, months, weekdays = values
    on_day = day.day in days
    on_weekday = bool({day.isoweekday(), day.isoweekday() % _SUNDAY} & weekdays)
    # With both given cron takes either.
    is_due = on_day or on_weekday if "*" not in {fields[2], fields[4]} else on_day and on_weekday
    if is_due and day.month in months:
        for hour in sorted(hours):
            for minute in sorted(minutes):
                yield datetime.combine(day, time(hour, minute), zone).astimezone(UTC)


def find_last_tick(cron: str, until: datetime, zone: ZoneInfo) -> datetime:
    """Return when a good expression was due last, up to and including a moment; in UTC."""
    day = until.astimezone(zone).date()
    for back in range(_MOST_DAYS):
        ticks = _list_ticks(cron, day - timedelta(days=back), zone)
        past = [tick for tick in ticks if tick <= until]
        if past:
            return max(past)
    raise ValueError(tr("{cron!r} is never due.", cron=cron))


def find_next_tick(cron: str, since: datetime, zone: ZoneInfo) -> datetime:
    """Return when a good expression is due next, from a moment on, itself included; in UTC."""
    day = since.astimezone(zone).date()
    for ahead in range(_MOST_DAYS):
        ticks = _list_ticks(cron, day + timedelta(days=ahead), zone)
        coming = [tick for tick in ticks if tick >= since]
        if coming:
            return min(coming)
    raise ValueError(tr("{cron!r} is never due.", cron=cron))


def _check_text(value: str) -> str:
    if not value.strip():
        raise ValueError(tr("is empty."))
    return value.strip()


def _check_variable(value: str) -> str:
    if _KEY.fullmatch(value) or not _VARIABLE.fullmatch(value):
        raise ValueError(tr("is not a variable's name."))
    return value


def _check_zone(value: str) -> str:
    if value not in list_zone_names():
        said = re.sub(r"[^\w+]", "", value).lower()
        known = next((zone for zone, words in _ZONES_AS_SAID.items() if said in words.split()), "")
        suggestion = (
            f" Did you mean '{known}'?" if known else suggest_name(value, sorted(list_zone_names()))
        )
        raise ValueError(
            tr(
                "there is no time zone '{value}'.{suggestion} Allowed: names of the IANA list, "
                "such as Europe/Moscow.",
                value=value,
                suggestion=suggestion,
            )
        )
    return value


def _check_day(value: str) -> str:
    try:
        # fromisoformat alone would take 20260131 and 2026-W05-6 too.
        day = date.fromisoformat(value) if _DAY.fullmatch(value) else None
    except ValueError:
        day = None
    if day is None:
        raise ValueError(tr("must be a day of the calendar, written 2026-01-31."))
    if day < _EARLIEST_DAY:
        raise ValueError(
            tr(
                "must be {earliest_day} or later: CallKeeper has no older calls.",
                earliest_day=_EARLIEST_DAY,
            )
        )
    return value


def _check_table(value: str) -> str:
    if value not in SELECTABLE_TABLES:
        raise ValueError(describe_unknown("table", value, SELECTABLE_TABLES))
    return value


def _check_cron(value: str) -> str:
    problem = find_cron_problem(value)
    if problem:
        raise ValueError(problem)
    return " ".join(value.split())


def _check_webhook_field(value: str) -> str:
    if value not in WEBHOOK_FIELDS:
        raise ValueError(describe_unknown("field", value, WEBHOOK_FIELDS))
    return value


def _check_report_name(value: str) -> str:
    problem = find_report_name_problem(value)
    if problem:
        raise ValueError(problem)
    return value


def _check_owner(value: str) -> str:
    if not _OWNER.fullmatch(value):
        raise ValueError(tr("must be team:<name> or an e-mail address."))
    return value


def _check_key_part(value: str) -> str:
    if not _KEY_PART.fullmatch(value):
        raise ValueError(tr("must be letters, digits, '_', '-' and '.'."))
    return value


def _check_group(value: str) -> str:
    if not _GROUP.fullmatch(value):
        raise ValueError(tr("must be Latin letters, digits and '_'."))
    return value


def _split_key(value: object) -> object:
    return value.split("/") if isinstance(value, str) else value


def _check_translation(value: object) -> object:
    if not isinstance(value, dict | str):
        # pydantic's own kind of refusal, whatever is wrong.
        raise ValueError(tr("must be a mapping of attributes, or one '{{ … }}'."))  # noqa: TRY004
    return value


def _read_unlimited(value: object) -> object:
    return None if value == "none" else value


TableName = Annotated[
    str, AfterValidator(_check_table), WithJsonSchema({"enum": list(SELECTABLE_TABLES)})
]


class _Attributes(BaseModel):
    # Strict: "31" for 31, or yes for text, is a slip that would otherwise be guessed at.
    # Hidden: where Dagster validates, pydantic's own text would show a key written as api_key.
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class EnvironmentSecret(_Attributes):
    """The name of an environment variable, in place of a secret."""

    env: Annotated[str, AfterValidator(_check_variable)] = Field(
        description="Name of the environment variable that holds the secret."
    )


# Text is refused by the type, not by the schema: `dg check yaml` prints what a schema refuses.
_SECRET_SCHEMA = {"anyOf": [EnvironmentSecret.model_json_schema(), {"type": "string"}]}


class FilterAttributes(_Attributes):
    """One condition; a table's conditions must all hold."""

    field: str = Field(description="A column of the table, or a path in the raw call.")
    op: FilterOp = Field(description="How the field is compared with the value.")
    value: Any = Field(
        default=None,
        description="What to compare with; a list for in and not_in. A date is a whole day of the "
        "source's time zone.",
    )


class RefreshAttributes(_Attributes):
    """The daily re-read of recent days."""

    cron: Annotated[str, AfterValidator(_check_cron)] = Field(
        default="0 5 * * *", description="When, in the source's time zone."
    )
    overlap_days: int = Field(
        default=3, ge=0, le=366, description="Days before today that are read again each time."
    )
    settle_after_days: int = Field(
        default=30, ge=1, le=36_500, description="Days after which a call is settled as it is."
    )


class WebhookAttributes(_Attributes):
    """The webhooks that CallKeeper sends to this program's receiver."""

    token: Annotated[EnvironmentSecret, WithJsonSchema(_SECRET_SCHEMA)] = Field(
        description="{env: NAME}: the variable that holds the last part of the webhooks' URL."
    )
    fields: dict[
        Annotated[str, AfterValidator(_check_webhook_field)],
        Annotated[str, AfterValidator(_check_text)],
    ] = Field(
        default_factory=dict,
        description="Our names of fields, and the names under which this account sends them.",
    )
    grace_hours: int = Field(
        default=48,
        ge=0,
        le=8_760,
        description="How long a call that only a webhook told of may be missing in the API.",
    )


class ReconciliationAttributes(_Attributes):
    """The comparison of the warehouse with the source."""

    cron: Annotated[str, AfterValidator(_check_cron)] = Field(
        default="0 6 * * 0", description="When, in the source's time zone."
    )
    days: int = Field(default=30, ge=1, le=36_500, description="Days back that are compared.")
    heal: bool = Field(default=True, description="Whether what differs is loaded anew.")


class PrivacyAttributes(_Attributes):
    """What becomes of personal data before anything is written."""

    phones: PhoneAction = Field(
        default="keep",
        description="Clients' numbers: kept, without their last four digits, or as a keyed hash.",
    )
    manager_phones: PhoneAction | None = Field(
        default=None, description="The company's numbers. Default: as phones."
    )
    ips: Action = Field(
        default="keep", description="Addresses: kept, their network alone, or dropped."
    )
    user_agents: Action = Field(
        default="keep", description="Browsers: kept, their name and system alone, or dropped."
    )
    recordings: Action = Field(
        default="keep", description="Recordings' addresses: kept, their host alone, or dropped."
    )
    key: Annotated[EnvironmentSecret, WithJsonSchema(_SECRET_SCHEMA)] | None = Field(
        default=None, description="{env: NAME}: the variable that holds the key of hashes."
    )


class RetentionAttributes(_Attributes):
    """How long calls are kept."""

    cron: Annotated[str, AfterValidator(_check_cron)] = Field(
        default="0 4 * * *", description="When older ones are deleted, in the source's time zone."
    )
    keep_days: int = Field(
        ge=1, le=36_500, description="Calls of more days before today than these are deleted."
    )


class ReportRefreshAttributes(_Attributes):
    """When a report's days are built again."""

    cron: Annotated[str, AfterValidator(_check_cron)] = Field(
        default="30 5 * * *", description="When, in the source's time zone."
    )
    overlap_days: int = Field(
        default=3, ge=0, le=366, description="Days before today that are built again each time."
    )


class ReportColumnAttributes(_Attributes):
    """A column of a report's table: where its value is found, and what it is."""

    path: Annotated[str, AfterValidator(_check_text)] | None = Field(
        default=None, description="JMESPath into the call, or into the element of `rows`."
    )
    parent: Annotated[str, AfterValidator(_check_text)] | None = Field(
        default=None, description="JMESPath into the call, where `rows` makes elements the rows."
    )
    type: ColumnType = Field(description="The column's type.")


class ReportTableAttributes(_Attributes):
    """A table that a report fills."""

    table: str = Field(description="Its name: lower-case letters, digits and _, 63 bytes at most.")
    rows: Annotated[str, AfterValidator(_check_text)] | None = Field(
        default=None,
        description="JMESPath of a list: each element is a row. Default: each call is one.",
    )
    key: list[str] = Field(
        min_length=1, description="Columns that tell its rows apart, beside account_id."
    )
    columns: dict[str, ReportColumnAttributes] = Field(
        min_length=1, max_length=1_000, description="Its columns, by name."
    )


class ReportAttributes(_Attributes):
    """A custom report: chosen fields of raw calls."""

    name: Annotated[
        str,
        AfterValidator(_check_report_name),
        WithJsonSchema({"type": "string", "pattern": REPORT_NAME_PATTERN, "maxLength": 60}),
    ] = Field(description="Its name: lower-case Latin letters, digits and _.")
    type: Literal["calls"] = Field(default="calls", description="What it is made from.")
    fields: Annotated[Any, WithJsonSchema(_FIELDS_SCHEMA)] = Field(
        default=None,
        description="Paths (JMESPath) into the call, or a mapping of names to paths. Required "
        "without a structure.",
    )
    filters: list[FilterAttributes] = Field(
        default_factory=list,
        description="Conditions that its calls must meet, on columns of callkeeper_calls and "
        "callkeeper_calls_facts or on documented fields of the raw call.",
    )
    refresh: ReportRefreshAttributes = Field(
        default_factory=ReportRefreshAttributes, description="When its days are built again."
    )
    structure: list[ReportTableAttributes] | None = Field(
        default=None,
        min_length=1,
        description="The tables it fills. Default: JSON rows in callkeeper_reports.",
    )
    on_new_field: OnNewField = Field(
        default="warn",
        description="What a field means that no day before had, and no documentation names.",
    )


class SourceAttributes(_Attributes):
    """The attributes of one source. Only `api_key` is required."""

    api_key: Annotated[EnvironmentSecret, WithJsonSchema(_SECRET_SCHEMA)] = Field(
        description="{env: NAME}: the environment variable that holds the key; never a key."
    )
    caption: Annotated[str, AfterValidator(_check_text)] | None = Field(
        default=None, description="Name for people. Default: the folder's name."
    )
    api: ApiName = Field(
        default="callkeeper",
        description="Which of CallKeeper's interfaces is asked: ckct for accounts that were moved "
        "to the newer cabinet.",
    )
    role: CallRole | None = Field(
        default=None,
        description="Whose calls are asked for, with api: ckct. Default: own.",
    )
    base_url: Annotated[str, AfterValidator(check_address)] | None = Field(
        default=None,
        description="Address of the API. Default: https://api.callkeeper.ru, or "
        "https://ckct.ru/api/ with api: ckct.",
    )
    time_zone: Annotated[str, AfterValidator(_check_zone)] = Field(
        default="Europe/Moscow", description="IANA time zone in which days begin and end."
    )
    start_date: Annotated[str, AfterValidator(_check_day)] | None = Field(
        default=None,
        description="First day ever loaded, YYYY-MM-DD. Default: January 1 of last year.",
    )
    history_days: Annotated[
        Annotated[int, Field(ge=1, le=36_500)] | None,
        BeforeValidator(_read_unlimited),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["none", None]}]}),
    ] = Field(
        default=None,
        description="The plan's limit in days, counted back from today. Default: none, unlimited.",
    )
    tables: list[TableName] = Field(
        default_factory=lambda: list(SELECTABLE_TABLES),
        min_length=1,
        description="The tables to load. Default: all.",
    )
    filters: dict[TableName, list[FilterAttributes]] = Field(
        default_factory=dict,
        description="By table, conditions that its rows must meet. Raw calls stay whole.",
    )
    refresh: RefreshAttributes = Field(
        default_factory=RefreshAttributes, description="The daily re-read of recent days."
    )
    webhook: WebhookAttributes | None = Field(
        default=None, description="Webhooks. Default: none are taken."
    )
    reconciliation: ReconciliationAttributes = Field(
        default_factory=ReconciliationAttributes,
        description="The comparison of the warehouse with the source, and its healing.",
    )
    privacy: PrivacyAttributes = Field(
        default_factory=PrivacyAttributes,
        description="Personal data: kept, masked or hashed. Default: all of it is kept.",
    )
    retention: RetentionAttributes | None = Field(
        default=None, description="How long calls are kept. Default: for ever."
    )
    reports: list[ReportAttributes] = Field(
        default_factory=list, description="Custom reports. Default: none."
    )
    owners: list[Annotated[str, AfterValidator(_check_owner)]] = Field(
        default_factory=lambda: ["team:data"],
        description="Who is asked about this source: team:<name> or e-mail addresses.",
    )
    key_prefix: Annotated[
        list[Annotated[str, AfterValidator(_check_key_part)]],
        BeforeValidator(_split_key),
        WithJsonSchema({"anyOf": [{"type": "string"}, _LIST_OF_TEXTS]}),
    ] = Field(
        default_factory=list,
        description="What the keys of its assets begin with, before its name: a/b, or a list. "
        "Default: nothing.",
    )
    group_name: Annotated[str, AfterValidator(_check_group)] | None = Field(
        default=None, description="The group of its assets. Default: the folder's name."
    )
    translation: Annotated[
        Any, AfterValidator(_check_translation), WithJsonSchema(_TRANSLATION_SCHEMA)
    ] = Field(
        default=None,
        description="What Dagster is told of each asset otherwise: key, tags, owners and the like, "
        "with {{ spec }}, the asset as it is, and {{ source }}, the source.",
    )
    max_lost_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="A day that would lose more than this share of its calls is not replaced.",
    )
    parallel_days: int = Field(
        default=4, ge=1, le=32, description="How many days are fetched side by side."
    )
    check_answers_from: int = Field(
        default=CHECK_ANSWERS_FROM,
        ge=2,
        description="An answer of so many calls or more is checked once for having been cut.",
    )


# What a defs.yaml names as its `type`.
COMPONENT_TYPE: Final = "callkeeper_assets.CallKeeperSource"
SCHEMA_FILE: Final = Path(__file__).parents[1] / "defs.schema.json"


def build_schema() -> dict[str, Any]:
    """Return the schema of a `defs.yaml`."""
    attributes = SourceAttributes.model_json_schema()
    definitions = attributes.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "CallKeeper source",
        "description": "A defs.yaml of callkeeper_assets: one CallKeeper account.",
        "type": "object",
        "properties": {
            "type": {"const": COMPONENT_TYPE, "description": "What the file is."},
            "attributes": attributes,
            "requirements": {
                "type": "object",
                "description": "Dagster's list of environment variables, for `dg` alone.",
            },
        },
        "required": ["type", "attributes"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def render_schema() -> str:
    """Return the schema's file."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"


def locate_schema(folder: Path) -> str:
    """Return the schema's place as a file in the folder names it.

    A project of a user's own has a copy: a path into an environment is another on each machine.
    """
    project = find_project()
    copy = project.root / SCHEMA_FILE.name if project else SCHEMA_FILE
    return Path(os.path.relpath(copy if copy.is_file() else SCHEMA_FILE, folder)).as_posix()


if __name__ == "__main__":
    SCHEMA_FILE.write_text(render_schema(), encoding="utf-8")
