"""The tables of calls, declared: calls and their facts.

`account_id` is in every key: the column by which Citus would distribute them.
"""

from typing import Final

from callkeeper_assets.warehouse.schema import Column, Table

ACCOUNT_ID: Final = Column(
    "account_id",
    "integer",
    "The source",
    nullable=False,
    references="general_accounts.account_id",
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
    ),
)
