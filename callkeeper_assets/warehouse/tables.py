"""All tables of the warehouse, as data: the one place to ask which there are.

Declared in `star` and `log_tables`. A new table or column is declared there and made by a
migration; a test compares the two.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from callkeeper_assets.warehouse import log_tables, star
from callkeeper_assets.warehouse.schema import Column, ColumnType, Table, TableRole

__all__ = ["SELECTABLE_TABLES", "TABLES", "Column", "ColumnType", "Table", "TableRole"]

TABLES: Final[Mapping[str, Table]] = MappingProxyType(
    {
        table.name: table
        for table in (
            star.GENERAL_ACCOUNTS,
            star.GENERAL_DATES,
            star.GENERAL_SITES,
            star.GENERAL_LOCATIONS,
            star.GENERAL_TRAFFIC,
            star.GENERAL_CLIENTIDS,
            star.CALLKEEPER_CALLS,
            star.CALLKEEPER_CALLS_FACTS,
            star.GENERAL_COSTS_FACTS,
            log_tables.CALLKEEPER_LOADS,
            log_tables.CALLKEEPER_DAYS,
            log_tables.CALLKEEPER_DISCREPANCIES,
            log_tables.CALLKEEPER_WEBHOOKS,
            log_tables.CALLKEEPER_WEBHOOK_REPEATS,
            log_tables.CALLKEEPER_WEBHOOK_HINTS,
            log_tables.CALLKEEPER_WEBHOOK_DAYS,
            log_tables.CALLKEEPER_LOST_WEBHOOKS,
            log_tables.CALLKEEPER_REPORTS,
            log_tables.CALLKEEPER_REJECTS,
            log_tables.CALLKEEPER_REPORT_TABLES,
            log_tables.CALLKEEPER_REPORT_DAYS,
            log_tables.CALLKEEPER_REPORT_FIELDS,
            log_tables.CALLKEEPER_FORGOTTEN_CALLS,
            log_tables.CALLKEEPER_ERASURES,
            log_tables.CALLKEEPER_PRIVACY_SETTINGS,
        )
    }
)

# What `tables:` of a source may name. general_accounts is kept whether named or not: every
# account_id points to it.
SELECTABLE_TABLES: Final[tuple[str, ...]] = tuple(
    table.name for table in TABLES.values() if table.role in {"dimension", "fact"}
)
