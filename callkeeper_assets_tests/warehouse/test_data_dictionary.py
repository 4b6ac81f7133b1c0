"""The published data dictionary is generated from the declared tables, in both languages."""

from collections.abc import Iterator

import pytest

from callkeeper_assets.language import Language, use_language
from callkeeper_assets.warehouse import tables
from callkeeper_assets.warehouse.tables import TABLES


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Whatever a test chose, the next one begins in English."""
    yield
    use_language("en")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_data_dictionary_is_that_of_the_declared_tables(language: Language) -> None:
    file = {"en": tables.DICTIONARY_FILE, "ru": tables.RUSSIAN_DICTIONARY_FILE}[language]
    use_language(language)
    assert file.read_text(encoding="utf-8") == tables.render_dictionary(), (
        "write it anew: python -m callkeeper_assets.warehouse.tables"
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
