"""The attributes a user may write in `defs.yaml`: names, types, bounds, descriptions.

One declaration for all who read it: `reading` validates with it, and it is the Dagster component's
schema, which `dg check yaml`, `dg list components` and editors go by. Values keep the types of
YAML here. What concerns several attributes at once is in `checks`. Defaults are a user's: they may
change only with a line in the changelog.
"""

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from callkeeper_assets.api.names import CHECK_ANSWERS_FROM, ApiName, Role
from callkeeper_assets.config.addresses import check_address
from callkeeper_assets.config.cron import find_cron_problem
from callkeeper_assets.config.problems import describe_unknown, suggest_name
from callkeeper_assets.privacy.rule import Action, PhoneAction
from callkeeper_assets.reports.definition import ColumnType, OnNewField
from callkeeper_assets.reports.names import REPORT_NAME_PATTERN, find_report_name_problem
from callkeeper_assets.warehouse.call_fields import WEBHOOK_FIELDS
from callkeeper_assets.warehouse.filters import FilterOp
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES
from callkeeper_assets.zone_rules import list_zone_names

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

# CallKeeper is younger; a slip such as 0206 would make hundreds of thousands of partitions.
_EARLIEST_DAY = date(2010, 1, 1)


def _check_text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty.")
    return value.strip()


def _check_variable(value: str) -> str:
    if _KEY.fullmatch(value) or not _VARIABLE.fullmatch(value):
        raise ValueError("is not a variable's name.")
    return value


def _check_zone(value: str) -> str:
    if value not in list_zone_names():
        suggestion = suggest_name(value, sorted(list_zone_names()))
        raise ValueError(
            f"there is no time zone '{value}'.{suggestion} Allowed: names of the IANA list, such "
            "as Europe/Moscow."
        )
    return value


def _check_day(value: str) -> str:
    try:
        # fromisoformat alone would take 20260131 and 2026-W05-6 too.
        day = date.fromisoformat(value) if _DAY.fullmatch(value) else None
    except ValueError:
        day = None
    if day is None:
        raise ValueError("must be a day of the calendar, written 2026-01-31.")
    if day < _EARLIEST_DAY:
        raise ValueError(f"must be {_EARLIEST_DAY} or later: CallKeeper has no older calls.")
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
        raise ValueError("must be team:<name> or an e-mail address.")
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


# A list's entries are their own names; what is wrong with one is said with its place in the list.
_FIELDS_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
    ]
}


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
    role: Role | None = Field(
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
