"""The `general_*` dimensions, declared.

Names are those of mybi's warehouse, so that reports and public dbt packages written for it run
unchanged.
Every dimension has the row `id = 1`, "unknown". `key_hash` is ours: the MD5 of the natural key,
because a landing page is longer than an index entry may be.
"""

from typing import Final

from callkeeper_assets.warehouse.schema import Column, Table

_KEY_HASH: Final = Column(
    "key_hash",
    "uuid",
    "MD5 of the row's values: how a load finds the row",
    nullable=False,
    is_internal=True,
)


def _id(meaning: str) -> Column:
    return Column("id", "integer", meaning, nullable=False)


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
    ),
)

GENERAL_DATES: Final = Table(
    name="general_dates",
    role="dimension",
    grain="minute, local to the source",
    key=("id",),
    description="Minutes in which calls were made, as the clock on the source's wall showed them.",
    columns=(
        _id(
            "Minutes from 1970-01-01 00:00 to `full_date` on the same clock; 1, whose row says "
            "1970-01-01 00:01, is unknown"
        ),
        Column("full_date", "timestamp without time zone", "The minute"),
        Column("year", "smallint", "Year"),
        Column("quarter", "smallint", "Quarter, 1 to 4"),
        Column("quarter_label", "text", "Quarter, `I` to `IV`"),
        Column("month", "smallint", "Month, 1 to 12"),
        Column("month_label", "text", "Month in Russian: `Январь`"),
        Column("week", "smallint", "ISO week, 1 to 53"),
        Column("weekday", "smallint", "Day of the week, 1 is Monday"),
        Column("weekday_label", "text", "Day of the week in Russian: `Понедельник`"),
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
