"""What one attribute alone cannot tell: contradictions within a source.

Each check is given attributes whose form is right, and yields every problem it finds.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date

from callkeeper_assets.config.models import SourceAttributes
from callkeeper_assets.config.problems import Problem
from callkeeper_assets.warehouse.dimensions import CALLS, DATES, FACTS
from callkeeper_assets.warehouse.errors import FilterError
from callkeeper_assets.warehouse.filters import Filter, check_filter

# The facts' rows are found by these two; any other dimension can be left at "unknown".
_FACTS_NEED = (CALLS, DATES)


def find_table_problems(attributes: SourceAttributes) -> Iterator[Problem]:
    """Tables chosen twice, and facts without what they stand on."""
    tables = attributes.tables
    for table, count in Counter(tables).items():
        if count > 1:
            again = len(tables) - 1 - tables[::-1].index(table)
            yield Problem(("attributes", "tables", again), f"'{table}' is chosen twice: keep one.")
    missing = [table for table in _FACTS_NEED if table not in tables]
    if FACTS in tables and missing:
        yield Problem(
            ("attributes", "tables", tables.index(FACTS)),
            f"'{FACTS}' cannot be loaded without {' and '.join(missing)}: add to tables, or leave "
            f"'{FACTS}' out.",
        )


def find_filter_problems(attributes: SourceAttributes, *, tables_known: bool) -> Iterator[Problem]:
    """Filters of tables that are not chosen, and filters that cannot be meant.

    Args:
        attributes: The attributes.
        tables_known: False where `tables` itself is refused: what is chosen is not known then.
    """
    for table, filters in attributes.filters.items():
        location = ("attributes", "filters", table)
        if tables_known and table not in attributes.tables:
            yield Problem(
                location, f"'{table}' is not in tables: choose it there, or remove its filters."
            )
        for index, item in enumerate(filters):
            try:
                check_filter(table, Filter(field=item.field, op=item.op, value=item.value))
            except FilterError as error:
                yield Problem((*location, index), str(error))


def find_api_problems(attributes: SourceAttributes) -> Iterator[Problem]:
    """A role where there are none."""
    if attributes.role and attributes.api != "ckct":
        yield Problem(
            ("attributes", "role"),
            f"'{attributes.role}' means nothing to api: {attributes.api}, which knows no roles: "
            "remove it, or set api: ckct.",
        )


def find_day_problems(attributes: SourceAttributes, today: date) -> Iterator[Problem]:
    """A source that begins after today."""
    if attributes.start_date and date.fromisoformat(attributes.start_date) > today:
        yield Problem(
            ("attributes", "start_date"),
            f"{attributes.start_date} is in the future; today is {today} in "
            f"{attributes.time_zone}.",
        )


def find_privacy_problems(attributes: SourceAttributes, name: str) -> Iterator[Problem]:
    """Hashing without a key, and a key that nothing is hashed with."""
    privacy = attributes.privacy
    hashed = [
        attribute
        for attribute in ("phones", "manager_phones")
        if getattr(privacy, attribute) == "hash"
    ]
    if hashed and privacy.key is None:
        yield Problem(
            ("attributes", "privacy", hashed[0]),
            f"hash needs a key: add key: {{env: {name.upper()}_PRIVACY_KEY}}, and set that "
            "variable to a long random text.",
        )
    if privacy.key is not None and not hashed:
        yield Problem(
            ("attributes", "privacy", "key"),
            "is for phones: hash, and nothing is hashed: remove it, or write phones: hash.",
        )
