"""The source's row in general_accounts: found by the source's name, made at its first load.

`account_id` of every other table is this row's account_id, as mybi's packages join it.
"""

from dataclasses import dataclass
from datetime import date

from callkeeper_assets.warehouse.accounts import FIND_ACCOUNT, MAKE_ACCOUNT, number_parameters
from callkeeper_assets.warehouse.records import Account
from callkeeper_assets.warehouse.session import Session

_FIND = number_parameters(FIND_ACCOUNT, ["name"])
_MAKE = number_parameters(MAKE_ACCOUNT, ["name", "caption"])
_UPDATE = """
    UPDATE general_accounts
    SET caption = $2,
        enabled = true,
        status = 'loaded',
        interval_start = least(interval_start, $3),
        interval_end = greatest(interval_end, $4)
    WHERE account_id = $1
        AND (caption, enabled, status, interval_start, interval_end) IS DISTINCT FROM
            ($2, true, 'loaded', least(interval_start, $3), greatest(interval_end, $4))
"""


@dataclass(frozen=True)
class AccountRow:
    """The source's number, and whether this load made it."""

    account_id: int
    is_new: bool


def find_account_id(session: Session, account: Account) -> int | None:
    """Return the source's number; None if the warehouse does not know it."""
    found = session.query(_FIND, {"name": account.name})
    return found["account_id"][0].as_py() if found.num_rows else None


def find_account(session: Session, account: Account) -> AccountRow:
    """Return the source's row, made if it is missing."""
    name = {"name": account.name}
    found = session.query(_FIND, name)
    if not found.num_rows:
        made = session.query(_MAKE, {**name, "caption": account.caption})
        if made.num_rows:
            return AccountRow(made["account_id"][0].as_py(), is_new=True)
        found = session.query(_FIND, name)
    return AccountRow(found["account_id"][0].as_py(), is_new=False)


def update_account(
    session: Session, account_id: int, account: Account, first: date, last: date
) -> int:
    """Put the caption as configured and the days loaded into the row; 1 if that changed it."""
    return session.execute(
        _UPDATE,
        {
            "account_id": account_id,
            "caption": account.caption,
            "first": first,
            "last": last,
        },
    )
