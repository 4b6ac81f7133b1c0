"""Which tables a source loads: whether the choice makes sense, and what it comes to."""

from collections.abc import Collection
from difflib import get_close_matches

from callkeeper_assets.warehouse.dimensions import ACCOUNTS, CALLS, DATES, FACTS
from callkeeper_assets.warehouse.errors import SelectionError
from callkeeper_assets.warehouse.tables import SELECTABLE_TABLES


def check_selection(tables: Collection[str]) -> tuple[str, ...]:
    """Return the tables to load, in declared order, general_accounts among them.

    Raises:
        SelectionError: a table does not exist, or facts are chosen without what they need.
    """
    for name in tables:
        if name not in SELECTABLE_TABLES:
            close = get_close_matches(name, SELECTABLE_TABLES, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise SelectionError(
                f"There is no table {name!r} to choose.{hint} "
                f"Allowed are: {', '.join(SELECTABLE_TABLES)}."
            )
    missing = [name for name in (CALLS, DATES) if name not in tables]
    if FACTS in tables and missing:
        raise SelectionError(
            f"{FACTS} needs {' and '.join(missing)}: each of its rows points there. "
            f"Add {' and '.join(missing)} to `tables`, or leave {FACTS} out."
        )
    chosen = {*tables, ACCOUNTS}
    return tuple(name for name in SELECTABLE_TABLES if name in chosen)
