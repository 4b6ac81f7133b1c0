"""Custom reports in the warehouse, declared: their JSON rows, their rejects, their books.

The user's own tables are not here: `callkeeper_report_tables` lists them. `account_id` is in every
key but that list's: the column by which Citus would distribute them.
"""

from typing import Final

from callkeeper_assets.warehouse.call_tables import ACCOUNT_ID
from callkeeper_assets.warehouse.schema import Column, Table

_REPORT: Final = Column("report", "text", "The report's name in `defs.yaml`", nullable=False)
_DAY: Final = Column("day", "date", "The day, in the source's time zone", nullable=False)
_CALL_ID: Final = Column("call_id", "bigint", "The call's id in CallKeeper", nullable=False)

CALLKEEPER_REPORTS: Final = Table(
    name="callkeeper_reports",
    role="report",
    grain="report × call",
    key=("account_id", "report", "call_id"),
    description="Custom reports without a structure: the fields asked for, as JSON.",
    columns=(
        ACCOUNT_ID,
        _REPORT,
        _CALL_ID,
        Column("called_at", "timestamp with time zone", "When it was called", nullable=False),
        Column("data", "jsonb", "The fields under their names; missing ones null", nullable=False),
        Column(
            "loaded_at",
            "timestamp with time zone",
            "When a value of this row last changed",
            nullable=False,
        ),
        Column("day", "date", "The day whose raw calls had it", nullable=False, is_internal=True),
    ),
)

CALLKEEPER_REJECTS: Final = Table(
    name="callkeeper_rejects",
    role="log",
    grain="report × row × column that does not fit",
    key=("account_id", "report", "day", "table_name", "call_id", "position", "column_name"),
    description=(
        "Values that kept rows out of a report's table, as of the day's last load; a day's rejects "
        "are replaced with its rows."
    ),
    columns=(
        ACCOUNT_ID,
        _REPORT,
        _DAY,
        Column("table_name", "text", "The table without the row", nullable=False),
        _CALL_ID,
        Column(
            "position",
            "integer",
            "Which of the call's rows of the table, from 1; 0 if `rows` itself failed",
            nullable=False,
        ),
        Column(
            "column_name",
            "text",
            "The column whose value does not fit; empty if it is the row as a whole",
            nullable=False,
        ),
        Column("value", "text", "The value as JSON, its first 1,000 characters; NULL if none"),
        Column("reason", "text", "Why it does not fit", nullable=False),
        Column("run_id", "text", "The run that found it first", nullable=False),
    ),
)

CALLKEEPER_REPORT_TABLES: Final = Table(
    name="callkeeper_report_tables",
    role="log",
    grain="table",
    key=("table_name",),
    description=(
        "The tables that reports have made. A report writes to no other: not to one that was there "
        "before it, whatever its name."
    ),
    columns=(
        Column("table_name", "text", "The table, in the same schema", nullable=False),
        Column("made_by", "text", "`source/report` that asked for it first", nullable=False),
        Column("made_at", "timestamp with time zone", "When it was made", nullable=False),
    ),
)

CALLKEEPER_REPORT_DAYS: Final = Table(
    name="callkeeper_report_days",
    role="log",
    grain="report × day",
    key=("account_id", "report", "day"),
    description=(
        "The days that each report is built for, and from which definition: what says which days "
        "its next refresh builds again."
    ),
    columns=(
        ACCOUNT_ID,
        _REPORT,
        _DAY,
        Column("definition", "text", "Digest of the report's definition", nullable=False),
        Column("calls", "integer", "Calls that its filters let pass", nullable=False),
        Column("built_at", "timestamp with time zone", "When it was last built", nullable=False),
    ),
)

CALLKEEPER_REPORT_FIELDS: Final = Table(
    name="callkeeper_report_fields",
    role="log",
    grain="report × field",
    key=("account_id", "report", "field"),
    description=(
        "Fields of raw calls that the API's documentation does not name, as a report's loads met "
        "them: on every other day than its first a field is known."
    ),
    columns=(
        ACCOUNT_ID,
        _REPORT,
        Column("field", "text", "Its path in the raw call", nullable=False),
        Column(
            "day", "date", "The first day loaded that had it; NULL: the report's first day of all"
        ),
    ),
)
