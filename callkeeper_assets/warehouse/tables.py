"""All tables of the warehouse, as data: the one place to ask which there are.

Declared in `star` and `log_tables`. A new table or column is declared there and made by a
migration; a test compares the two. Run as a program it writes the data
dictionary in both languages.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, cast

from callkeeper_assets.language import Language, look_up, mark, tr, use_language
from callkeeper_assets.postgres.schemas import PUBLIC
from callkeeper_assets.warehouse import log_tables, star, views
from callkeeper_assets.warehouse.outcomes import OUTCOMES
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
            log_tables.CALLKEEPER_KEYS,
            log_tables.CALLKEEPER_ALERTS,
            log_tables.CALLKEEPER_ALERT_MESSAGES,
            log_tables.CALLKEEPER_RECEIVERS,
        )
    }
)

# What `tables:` of a source may name. general_accounts is kept whether named or not: every
# account_id points to it.
SELECTABLE_TABLES: Final[tuple[str, ...]] = tuple(
    table.name for table in TABLES.values() if table.role in {"dimension", "fact"}
)


def find_schema(table: str) -> str:
    """Return the database's schema of a table, be it declared or a report's own."""
    declared = TABLES.get(table)
    return declared.schema if declared else PUBLIC


DICTIONARY_FILE: Final = Path(__file__).parents[2] / "docs" / "data-dictionary.md"
RUSSIAN_DICTIONARY_FILE: Final = DICTIONARY_FILE.parent / "ru" / DICTIONARY_FILE.name

_PREFACE: Final = mark("""\
# Data dictionary

[По-русски](ru/data-dictionary.md)

Written by `python -m callkeeper_assets.warehouse.tables` from
`callkeeper_assets/warehouse/star.py`, `callkeeper_assets/warehouse/log_tables.py`,
`callkeeper_assets/warehouse/views.py` and `callkeeper_assets/warehouse/outcomes.py`: edit these.

What BI tools want is the view [`calls`](#calls-and-звонки). The schema `public` has what roles for
BI may read, tables of your reports too; `callkeeper_internal` has the rest, the product's own.
Every dimension has the row `id = 1`, "unknown". Keys of facts are never NULL and find their row;
where the server is PostgreSQL 18 or newer, those of the star (→) are declared, NOT ENFORCED, and BI
tools join by them. What the source did not say is NULL, never 0.
""")
_ROLES: Final[Mapping[TableRole, str]] = {
    "dimension": mark("A dimension"),
    "fact": mark("A fact"),
    "report": mark("A report"),
    "finding": mark("A finding"),
    "log": mark("A log"),
    "inbox": mark("An inbox"),
    "placeholder": mark("A placeholder"),
}


def list_texts(table: Table) -> Iterator[str]:
    """Yield what is said of a table and its columns; each has its translation in `locale`."""
    yield table.description
    yield table.grain
    for column in table.columns:
        yield column.description
        if column.unit:
            yield column.unit


_VIEWS: Final = mark("""\
## calls and звонки

Two views of the star, one row a call: `calls` has English names and values, `звонки` the same under
Russian captions. A name that something of yours already had stays yours; there is no such view
then. Columns are only added, at the end.

| column | в «звонки» | type | unit | meaning | что это |
|---|---|---|---|---|---|""")
_OUTCOMES: Final = mark("""\
### outcome

What each pair of codes, `status_code`/`status2_code`, means; a missing second code is 0. `answered`
is what has the status `success`, `in_progress` what is not final. Where there are no codes, the
unified API's word for success is `answered`. Of call tracking the client's leg comes first: there
`missed_by_manager` and `missed_by_client` change places. A pair that is not here is `unknown`.

| outcome | итог | means | pairs, with the cabinet's labels |
|---|---|---|---|""")


def render_dictionary() -> str:
    """Return the data dictionary in Markdown, in the language in force."""
    columns = map(_render_view_column, views.COLUMNS)
    views_of = [look_up(_VIEWS), *columns, "", look_up(_OUTCOMES), *_render_outcomes(), ""]
    for_readers_first = sorted(TABLES.values(), key=lambda table: table.schema != PUBLIC)
    tables = (_render_table(table) for table in for_readers_first)
    return "\n".join([look_up(_PREFACE), *views_of, *tables])


def _wrap(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _render_view_column(column: views.ViewColumn) -> str:
    return (
        f"| `{column.name}` | {column.caption} | {column.type} | {column.unit or ''} "
        f"| {column.description} | {column.description_ru} |"
    )


def _render_outcomes() -> Iterator[str]:
    for one in OUTCOMES:
        pairs = "; ".join(f"{first}/{second} {label}" for first, second, label in one.pairs)
        yield f"| `{one.name}` | {one.label_ru} | {one.meaning} | {pairs} |"


def _render_table(table: Table) -> str:
    choice = tr("can be chosen") if table.name in SELECTABLE_TABLES else tr("always kept")
    key = ", ".join(f"`{name}`" for name in table.key)
    facts = tr(
        "{role}, in `{schema}`; {choice}. Grain: {grain}. Key: {key}.",
        role=look_up(_ROLES[table.role]),
        schema=table.schema,
        choice=choice,
        grain=look_up(table.grain),
        key=key,
    )
    return "\n".join(
        [
            f"## {table.name}",
            "",
            _wrap(look_up(table.description)),
            "",
            _wrap(facts),
            "",
            tr("| column | type | may be NULL | unit | meaning |"),
            "|---|---|---|---|---|",
            *(_render_column(column) for column in table.columns),
            "",
        ]
    )


def _render_column(column: Column) -> str:
    meaning = look_up(column.description)
    if column.references:
        meaning += f" → `{column.references}`"
    may_be_null = tr("yes") if column.nullable else tr("no")
    unit = look_up(column.unit or "")
    return f"| `{column.name}` | {column.type} | {may_be_null} | {unit} | {meaning} |"


if __name__ == "__main__":
    for language, file in (("en", DICTIONARY_FILE), ("ru", RUSSIAN_DICTIONARY_FILE)):
        use_language(cast("Language", language))
        file.write_text(render_dictionary(), encoding="utf-8")
