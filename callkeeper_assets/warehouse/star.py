"""The star schema's tables, declared: the `general_*` dimensions, calls and their facts."""

from typing import Final

from callkeeper_assets.warehouse.outcomes import OUTCOME_NAMES
from callkeeper_assets.warehouse.schema import Column, Table

_KEY_HASH: Final = Column(
    "key_hash",
    "uuid",
    "MD5 of the row's values: how a load finds the row",
    nullable=False,
    is_internal=True,
)

ACCOUNT_ID: Final = Column(
    "account_id",
    "integer",
    "The source",
    nullable=False,
    references="general_accounts.account_id",
)


def _id(meaning: str) -> Column:
    return Column("id", "integer", meaning, nullable=False)


# As dates.sql writes them.
_MONTHS: Final = (
    *("Январь", "Февраль", "Март", "Апрель", "Май", "Июнь"),
    *("Июль", "Август", "Сентябрь", "Октябрь", "Ноябрь", "Декабрь"),
)
_WEEKDAYS: Final = (
    *("Понедельник", "Вторник", "Среда", "Четверг"),
    *("Пятница", "Суббота", "Воскресенье"),
)

GENERAL_ACCOUNTS: Final = Table(
    name="general_accounts",
    role="dimension",
    grain="source",
    key=("id",),
    description="The sources: one row for each CallKeeper account as configured.",
    columns=(
        _id("Surrogate key; 1 is unknown"),
        Column(
            "account_id", "integer", "What `account_id` of every other table holds", nullable=False
        ),
        Column("caption", "text", "The source's caption, as configured at its last load"),
        Column("service", "text", "Where the data come from: `CallKeeper`", nullable=False),
        Column("enabled", "boolean", "Whether the source is loaded", nullable=False),
        Column("status", "text", "`new` until the first day is loaded, then `loaded`"),
        Column("interval_start", "date", "The first day loaded"),
        Column("interval_end", "date", "The last day loaded"),
        Column("name", "text", "The source's name: its folder's", nullable=False),
        Column(
            "lacks_facts",
            "boolean",
            "Whether calls of it may be held without facts: once it was loaded without the table, "
            "or with a filter on it",
            nullable=False,
            is_internal=True,
        ),
    ),
)

GENERAL_DATES: Final = Table(
    name="general_dates",
    role="dimension",
    grain="minute, local to the source",
    key=("id",),
    description=(
        "Minutes in which calls were made, as the clock on the source's wall showed them, and "
        "every hour of the days that are loaded, so that a chart by hours has no holes (not where "
        "the source filters this table). Logs count the former."
    ),
    columns=(
        _id(
            "Minutes from 1970-01-01 00:00 to `full_date` on the same clock; 1, whose row says "
            "1970-01-01 00:01, is unknown"
        ),
        Column("full_date", "timestamp without time zone", "The minute"),
        Column("year", "smallint", "Year"),
        Column("quarter", "smallint", "Quarter, 1 to 4"),
        Column("quarter_label", "text", "Quarter, `I` to `IV`", values=("I", "II", "III", "IV")),
        Column("month", "smallint", "Month, 1 to 12"),
        Column("month_label", "text", "Month in Russian: `Январь`", values=_MONTHS),
        Column("week", "smallint", "ISO week, 1 to 53"),
        Column("weekday", "smallint", "Day of the week, 1 is Monday"),
        Column(
            "weekday_label",
            "text",
            "Day of the week in Russian: `Понедельник`",
            values=_WEEKDAYS,
        ),
        Column("day", "smallint", "Day of the month"),
        Column("hour", "smallint", "Hour, 0 to 23"),
        Column("minute", "smallint", "Minute, 0 to 59"),
        Column("simple_date", "date", "The day"),
        Column("week_year", "smallint", "Year of the ISO week: 2025-12-29 is of week 1 of 2026"),
    ),
)

GENERAL_SITES: Final = Table(
    name="general_sites",
    role="dimension",
    grain="site",
    key=("id",),
    description="Sites from which calls were ordered.",
    columns=(
        _id("Surrogate key; 1 is unknown"),
        Column("domain", "text", "The site as CallKeeper names it"),
        Column("description", "text", "CallKeeper gives none: NULL"),
        _KEY_HASH,
    ),
)

GENERAL_LOCATIONS: Final = Table(
    name="general_locations",
    role="dimension",
    grain="place",
    key=("id",),
    description="Places of clients, as CallKeeper tells them from the address.",
    columns=(
        _id("Surrogate key; 1 is unknown"),
        Column("country_iso", "text", "Country, two letters (ISO 3166-1)"),
        Column("country", "text", "Country's name, where the source gives one in place of a code"),
        Column("region_iso", "text", "CallKeeper gives none: NULL"),
        Column("region", "text", "Region"),
        Column("city", "text", "City"),
        Column("latitude", "double precision", "CallKeeper gives none: NULL", unit="degree"),
        Column("longitude", "double precision", "CallKeeper gives none: NULL", unit="degree"),
        _KEY_HASH,
    ),
)

GENERAL_TRAFFIC: Final = Table(
    name="general_traffic",
    role="dimension",
    grain="marks of a visit",
    key=("id",),
    description="Where the visit came from, in which the call was ordered.",
    columns=(
        _id("Surrogate key; 1 is unknown"),
        Column(
            "grouping",
            "text",
            "The visit's kind: `paid`, `organic`, `referral`, `direct`, or another that the "
            "source names; derived from the other marks where it names none",
        ),
        Column("source", "text", "utm_source of the visit"),
        Column("medium", "text", "utm_medium of the visit"),
        Column("campaign", "text", "utm_campaign of the visit"),
        Column("content", "text", "utm_content of the visit"),
        Column("keyword", "text", "utm_term of the visit"),
        Column("landing_page", "text", "The page on which the visit began"),
        _KEY_HASH,
    ),
)

GENERAL_CLIENTIDS: Final = Table(
    name="general_clientids",
    role="dimension",
    grain="visitor",
    key=("id",),
    description="Visitors: each combination of ids and phone under which one was seen.",
    columns=(
        _id("Surrogate key; 1 is unknown"),
        Column("clientid", "text", "Client id of Google Analytics; `not available` in row 1"),
        Column("userid", "text", "Client id of Yandex Metrica"),
        Column("phone", "text", "The client's phone"),
        Column("email", "text", "CallKeeper gives none: NULL"),
        _KEY_HASH,
    ),
)


def _text(name: str, description: str) -> Column:
    return Column(name, "text", description)


def _measure(name: str, description: str, unit: str | None = None) -> Column:
    return Column(name, "integer", f"{description}; NULL if the source gave none", unit=unit)


def _dimension_key(name: str, table: str) -> Column:
    return Column(
        name,
        "integer",
        f"Row of {table}; 1 if unknown or the table is not chosen",
        nullable=False,
        references=f"{table}.id",
    )


GENERAL_COSTS_FACTS: Final = Table(
    name="general_costs_facts",
    role="placeholder",
    grain="source × minute × site × marks of a visit",
    key=("account_id", "dates_id", "sites_id", "traffic_id"),
    description=(
        "Costs of advertising, as mybi's warehouse has them. CallKeeper tells of none: the table "
        "is empty, for reports and packages that expect it."
    ),
    columns=(
        ACCOUNT_ID,
        _dimension_key("dates_id", "general_dates"),
        _dimension_key("sites_id", "general_sites"),
        _dimension_key("traffic_id", "general_traffic"),
        Column("impressions", "integer", "How often advertising was shown"),
        Column("clicks", "integer", "How often it was clicked"),
        Column("cost", "double precision", "What it cost"),
        Column("vat_included", "boolean", "Whether VAT is in the cost"),
    ),
)

CALLKEEPER_CALLS: Final = Table(
    name="callkeeper_calls",
    role="dimension",
    grain="call",
    key=("account_id", "id"),
    description="Calls: what CallKeeper says of each, whatever came of it.",
    columns=(
        Column("id", "bigint", "Surrogate key", nullable=False),
        ACCOUNT_ID,
        Column(
            "call_id",
            "bigint",
            "The call's id in CallKeeper; of a call that is no callback see `service`",
            nullable=False,
        ),
        Column("called_at", "timestamp with time zone", "When it was called", nullable=False),
        Column("ordered_at", "timestamp with time zone", "When the call was ordered"),
        Column(
            "status",
            "text",
            "`success`, `failed`, `in_progress`, `planned`, `pending`; from the two codes. NULL "
            "without a code, and for what is neither a success nor a failure, since no talk was to "
            "come of it: 101/200 a voice message was delivered to the client, 200/199 the call was "
            "passed to voice mail, 200/201 only the lead was taken (request mode)",
            values=("success", "failed", "in_progress", "planned", "pending"),
        ),
        Column("is_final", "boolean", "Whether the status can no longer change", nullable=False),
        Column("status_code", "integer", "SIP status of the leg to the manager"),
        _text("status_reason", "Its text"),
        Column("status2_code", "integer", "SIP status of the leg to the client"),
        _text("status2_reason", "Its text"),
        _text("manager_phone", "The manager's number, without the extension; the first of several"),
        _text("manager_extension", "That manager's extension"),
        _text("client_phone", "The client's number"),
        _text("widget_hash", "The widget's hash"),
        _text("widget_name", "The widget's name"),
        _text(
            "connection_type",
            "How it was connected: `unknown`, `without_smartcall`, `analogue_dtmf`, "
            "`digital_dtmf`, `voice_smartcall`, `automatic`, or another code as received (`dtmf` "
            "of migrated accounts)",
        ),
        _text("event_source", "What the call was ordered from: `widget`, `mobile`, `api`, …"),
        _text("page", "The page from which it was ordered"),
        _text("user_agent", "The visitor's browser"),
        _text("ip", "The visitor's address"),
        _text("record_url", "The recording"),
        _text("tags", "Tags, as received; a list of them joined by commas"),
        _text("first_grouping", "Kind of the visitor's first visit, as `general_traffic.grouping`"),
        _text("first_source", "utm_source of the first visit"),
        _text("first_medium", "utm_medium of the first visit"),
        _text("first_campaign", "utm_campaign of the first visit"),
        _text("first_content", "utm_content of the first visit"),
        _text("first_keyword", "utm_term of the first visit"),
        _text("first_landing_page", "The page on which the first visit began"),
        _text("first_referrer", "Where the first visit came from"),
        Column(
            "first_visit_at",
            "timestamp without time zone",
            "When the first visit began; the source does not say in which time zone",
        ),
        Column("origin", "text", "Who told: `api` or `webhook`", nullable=False),
        Column(
            "loaded_at",
            "timestamp with time zone",
            "When a value of this row last changed",
            nullable=False,
        ),
        _text(
            "service",
            "The service that the call went through: `callback`, `calltracking` or `import`. Its "
            "`call_id` is CallKeeper's own id of a callback; 4000000000000000 and the own id of a "
            "call-tracking call; of any other, from 5000000000000000 on, a hash of `universal_id`",
        ),
        _text(
            "universal_id",
            "The call's id over all services, as received; NULL where the account's API has none",
        ),
        _text(
            "manager_phones",
            "All of the managers' numbers, where the source gave a list: as received, parted by _, "
            "each with its extension behind ^ (`74950000001^12_74950000003^34`); NULL where there "
            "is one number only",
        ),
    ),
)

CALLKEEPER_CALLS_FACTS: Final = Table(
    name="callkeeper_calls_facts",
    role="fact",
    grain="call",
    key=("account_id", "calls_id"),
    description="The measures of each call, and its dimensions.",
    columns=(
        ACCOUNT_ID,
        Column(
            "calls_id",
            "bigint",
            "Row of callkeeper_calls",
            nullable=False,
            references="callkeeper_calls.id",
        ),
        _dimension_key("dates_id", "general_dates"),
        _dimension_key("clientids_id", "general_clientids"),
        _dimension_key("traffic_id", "general_traffic"),
        _dimension_key("sites_id", "general_sites"),
        _dimension_key("locations_id", "general_locations"),
        _measure(
            "duration_sec", "Call duration; of migrated accounts the talk's alone is known", "s"
        ),
        _measure("duration2_sec", "Talk duration, from the client's pick-up", "s"),
        _measure("duration_min", "Call duration in charged minutes, rounded up; as above", "min"),
        _measure("duration2_min", "Talk duration in charged minutes, rounded up", "min"),
        _measure("attempt", "Number of the attempt"),
        _measure("asr_attempts", "Recognition attempts"),
        _measure("playback_tick", "Times the IVR text was read before the operator answered"),
        _measure("pages", "Pages seen in the visit before the call"),
        _measure("visit", "Ordinal of the visit: how many the visitor has had"),
        # What most questions ask of a call beside its measures: these rows are a fifth as long as
        # the calls', and answer without them.
        Column("began_at", "timestamp with time zone", "When it was called", nullable=False),
        Column(
            "outcome",
            "text",
            "What became of the call, from its two codes",
            nullable=False,
            values=OUTCOME_NAMES,
        ),
        Column("has_recording", "boolean", "Whether there is a recording", nullable=False),
        _text("manager", "The manager: number and extension; the first of several"),
        _text("client", "The client's number"),
    ),
)
