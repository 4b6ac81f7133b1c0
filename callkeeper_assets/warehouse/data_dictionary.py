"""Writes docs/data-dictionary.md from the declared tables: `python -m` this module.

A test fails while the file says anything else than the declaration.
"""

from pathlib import Path
from typing import Final

from callkeeper_assets.warehouse.schema import Column, Table
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES, TABLES

FILE: Final = Path(__file__).parents[2] / "docs" / "data-dictionary.md"

_PREFACE: Final = """\
# Data dictionary

Written by `python -m callkeeper_assets.warehouse.data_dictionary` from
`callkeeper_assets/warehouse/star.py` and `callkeeper_assets/warehouse/log_tables.py`: edit these.

Every dimension has the row `id = 1`, "unknown". Keys of facts are never NULL and find their row.
What the source did not say is NULL, never 0.
"""


def render() -> str:
    """Return the data dictionary in Markdown."""
    return "\n".join([_PREFACE, *(_render_table(table) for table in TABLES.values())])


def _render_table(table: Table) -> str:
    choice = "can be chosen" if table.name in SELECTABLE_TABLES else "always kept"
    key = ", ".join(f"`{name}`" for name in table.key)
    return "\n".join(
        [
            f"## {table.name}",
            "",
            f"{table.description}",
            "",
            f"A {table.role}; {choice}. Grain: {table.grain}. Key: {key}.",
            "",
            "| column | type | may be NULL | unit | meaning |",
            "|---|---|---|---|---|",
            *(_render_column(column) for column in table.columns),
            "",
        ]
    )


def _render_column(column: Column) -> str:
    meaning = column.description
    if column.references:
        meaning += f" → `{column.references}`"
    return (
        f"| `{column.name}` | {column.type} | {'yes' if column.nullable else 'no'} "
        f"| {column.unit or ''} | {meaning} |"
    )


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(render(), encoding="utf-8")
