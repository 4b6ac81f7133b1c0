"""All columns of `ck.calls` by one statement of SQL, as whoever has no `ck.calls` writes it."""

from callkeeper_assets.analysis.columns import COLUMNS, JOINS


def write_join() -> str:
    """Return the statement, with `:account`, `:start` and `:end` for who gives them."""
    shown = ", ".join(f"{expression} AS {name}" for name, expression in COLUMNS.items())
    joins = "\n".join(
        f"LEFT JOIN {table} AS {alias} ON {alias}.{condition}"
        for alias, (table, condition) in JOINS.items()
    )
    return (
        f"SELECT {shown}\nFROM callkeeper_calls AS calls\n"
        f"JOIN general_accounts AS accounts ON accounts.account_id = calls.account_id\n{joins}\n"
        "WHERE accounts.name = :account AND calls.called_at >= :start AND calls.called_at < :end\n"
        "ORDER BY calls.called_at, calls.call_id"
    )
