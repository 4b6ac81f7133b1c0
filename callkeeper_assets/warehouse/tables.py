"""All tables of the warehouse, as data: the one place to ask which there are.

Declared in `dimension_tables`, `call_tables`, `log_tables`, `report_tables` and `privacy_tables`. A
new table or column is declared there and made by a migration; a test compares the two.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from callkeeper_assets.warehouse import (
    call_tables,
    dimension_tables,
    log_tables,
    privacy_tables,
    report_tables,
)
from callkeeper_assets.warehouse.schema import Column, ColumnType, Role, Table

__all__ = ["SELECTABLE_TABLES", "TABLES", "Column", "ColumnType", "Role", "Table"]

TABLES: Final[Mapping[str, Table]] = MappingProxyType(
    {
        table.name: table
        for table in (
            dimension_tables.GENERAL_ACCOUNTS,
            dimension_tables.GENERAL_DATES,
            dimension_tables.GENERAL_SITES,
            dimension_tables.GENERAL_LOCATIONS,
            dimension_tables.GENERAL_TRAFFIC,
            dimension_tables.GENERAL_CLIENTIDS,
            call_tables.CALLKEEPER_CALLS,
            call_tables.CALLKEEPER_CALLS_FACTS,
            call_tables.GENERAL_COSTS_FACTS,
            log_tables.CALLKEEPER_LOADS,
            log_tables.CALLKEEPER_DAYS,
            log_tables.CALLKEEPER_DISCREPANCIES,
            log_tables.CALLKEEPER_WEBHOOKS,
            log_tables.CALLKEEPER_WEBHOOK_REPEATS,
            log_tables.CALLKEEPER_WEBHOOK_HINTS,
            log_tables.CALLKEEPER_WEBHOOK_DAYS,
            log_tables.CALLKEEPER_LOST_WEBHOOKS,
            report_tables.CALLKEEPER_REPORTS,
            report_tables.CALLKEEPER_REJECTS,
            report_tables.CALLKEEPER_REPORT_TABLES,
            report_tables.CALLKEEPER_REPORT_DAYS,
            report_tables.CALLKEEPER_REPORT_FIELDS,
            privacy_tables.CALLKEEPER_FORGOTTEN_CALLS,
            privacy_tables.CALLKEEPER_ERASURES,
            privacy_tables.CALLKEEPER_PRIVACY_SETTINGS,
        )
    }
)

# What `tables:` of a source may name. general_accounts is kept whether named or not: every
# account_id points to it.
SELECTABLE_TABLES: Final[tuple[str, ...]] = tuple(
    table.name for table in TABLES.values() if table.role in {"dimension", "fact"}
)
