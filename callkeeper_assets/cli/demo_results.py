"""What the demo shows at its end: what is loaded, where, and a first question of a BI tool."""

from pathlib import Path

from callkeeper_assets.cli.console import build_table, print_table, print_text
from callkeeper_assets.database.sql_files import read_sql_of
from callkeeper_assets.database.url import connect
from callkeeper_assets.home import raw_url
from callkeeper_assets.warehouse.tables import TABLES


def print_loaded() -> None:
    """Print how many rows each table has, and what it holds a row for."""
    table = build_table("Table", "Rows", "One row for each", numeric=("Rows",))
    with connect(autocommit=True) as connection:
        for declared in TABLES.values():
            query = f"SELECT count(*) FROM {declared.name}"  # noqa: S608 -- a declared name
            row = connection.execute(query.encode()).fetchone()
            table.add_row(declared.name, f"{row[0] if row else 0:,}", declared.grain)
    print_table(table)


def print_first_question() -> None:
    """Print a query as a BI tool would send it, and what comes back."""
    query = read_sql_of("callkeeper_assets.cli")("demo_cities")
    print_text(f"{query}\n")
    columns = ("City", "Calls", "Success, %", "Mean talk, s")
    table = build_table(*columns, numeric=columns[1:])
    with connect(autocommit=True) as connection:
        for row in connection.execute(query.encode()):
            table.add_row(*("" if value is None else str(value) for value in row))
    print_table(table)


def describe_raw() -> str:
    """Say where raw calls lie, and how many files and bytes they are."""
    sizes = [file.stat().st_size for file in Path(raw_url()).rglob("*.parquet")]
    return f"{raw_url()} ({len(sizes)} days, {sum(sizes) / 1e6:,.1f} MB)"
