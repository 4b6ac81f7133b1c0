"""All that a database holds, to be compared: every row of every table, and how they are made."""

from typing import Any, Final

import psycopg

_TABLES: Final = """
    SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
    WHERE schemaname IN ('public', 'callkeeper_internal', 'dagster') ORDER BY 1
"""
_INDEXES: Final = """
    SELECT schemaname, indexname, indexdef FROM pg_indexes
    WHERE schemaname IN ('public', 'callkeeper_internal', 'dagster') ORDER BY 1, 2
"""
_COLUMNS: Final = """
    SELECT table_schema, table_name, column_name, data_type, is_nullable, is_identity,
        column_default, col_description((table_schema || '.' || table_name)::regclass,
            ordinal_position)
    FROM information_schema.columns
    WHERE table_schema IN ('public', 'callkeeper_internal', 'dagster') ORDER BY 1, 2, 3
"""
_VIEWS: Final = """
    SELECT quote_ident(schemaname) || '.' || quote_ident(viewname),
        obj_description((schemaname || '.' || viewname)::regclass)
    FROM pg_views WHERE schemaname IN ('public', 'callkeeper_internal', 'dagster') ORDER BY 1
"""
_ROWS: Final = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} AS t"
_SEQUENCES: Final = """
    SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2
"""

# As a BI tool asks: which columns of a table lead to which of another.
KEYS: Final = """
    SELECT k.conrelid::regclass::text, k.confrelid::regclass::text, (
        SELECT string_agg(a.attname || '=' || r.attname, ' ' ORDER BY n)
        FROM unnest(k.conkey, k.confkey) WITH ORDINALITY AS p (own, other, n)
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = p.own
        JOIN pg_attribute AS r ON r.attrelid = k.confrelid AND r.attnum = p.other
    )
    FROM pg_constraint AS k
    WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace ORDER BY 1, 2
"""
KEYS_OF_STAR: Final = [
    ("callkeeper_calls", "general_accounts", "account_id=account_id"),
    ("callkeeper_calls_facts", "callkeeper_calls", "account_id=account_id calls_id=id"),
    ("callkeeper_calls_facts", "general_accounts", "account_id=account_id"),
    ("callkeeper_calls_facts", "general_clientids", "clientids_id=id"),
    ("callkeeper_calls_facts", "general_dates", "dates_id=id"),
    ("callkeeper_calls_facts", "general_locations", "locations_id=id"),
    ("callkeeper_calls_facts", "general_sites", "sites_id=id"),
    ("callkeeper_calls_facts", "general_traffic", "traffic_id=id"),
    ("general_costs_facts", "general_accounts", "account_id=account_id"),
    ("general_costs_facts", "general_dates", "dates_id=id"),
    ("general_costs_facts", "general_sites", "sites_id=id"),
    ("general_costs_facts", "general_traffic", "traffic_id=id"),
]


def list_tables(connection: psycopg.Connection[tuple[Any, ...]]) -> list[str]:
    """Return the names of all tables, with their schema."""
    return [str(name) for (name,) in connection.execute(_TABLES).fetchall()]


def read_all(connection: psycopg.Connection[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the number of rows and a hash of them for each table, and how things are made."""

    def read(name: str) -> tuple[Any, ...] | None:
        return connection.execute(_ROWS.format(name).encode()).fetchone()

    content: dict[str, Any] = {name: read(name) for name in list_tables(connection)}
    for what, query in (
        ("indexes", _INDEXES),
        ("columns", _COLUMNS),
        ("sequences", _SEQUENCES),
    ):
        content[what] = connection.execute(query.encode()).fetchall()
    # How one is written is each server's own.
    views = connection.execute(_VIEWS.encode()).fetchall()
    content["views"] = [(*view, read(view[0])) for view in views]
    return content
