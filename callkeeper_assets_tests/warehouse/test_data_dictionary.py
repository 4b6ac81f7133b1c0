"""The published data dictionary says what the tables declare."""

from callkeeper_assets.warehouse import tables
from callkeeper_assets.warehouse.tables import TABLES


def test_the_file_is_what_the_declaration_renders() -> None:
    written = tables.DICTIONARY_FILE.read_text(encoding="utf-8")
    assert written == tables.render_dictionary(), (
        "run `python -m callkeeper_assets.warehouse.tables`"
    )


def test_every_table_and_column_is_described() -> None:
    for table in TABLES.values():
        assert table.description, table.name
        assert set(table.key) <= set(table.column_names), table.name
        for column in table.columns:
            assert column.description, f"{table.name}.{column.name}"
            if column.references:
                target, _, name = column.references.partition(".")
                assert name in TABLES[target].column_names, column.references
