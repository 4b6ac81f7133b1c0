"""The privacy settings under which a source's calls were written, as the database remembers them.

A changed setting holds for new calls; for older ones once `callkeeper protect` has applied it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.warehouse.accounts import make_account

_Connection = psycopg.Connection[tuple[Any, ...]]

_NEWEST: Final = """
    SELECT s.setting, s.used_from, s.applied_at
    FROM callkeeper_privacy_settings AS s
    JOIN general_accounts AS a USING (account_id)
    WHERE a.name = %(name)s
    ORDER BY s.used_from DESC
    LIMIT 1
"""
# What began with a setting has no older calls. A source that always kept all needs no row.
_NOTE: Final = """
    INSERT INTO callkeeper_privacy_settings (account_id, used_from, setting, applied_at)
    SELECT account_id, now(), %(setting)s, CASE WHEN NOT has_calls THEN now() END
    FROM (
        SELECT a.account_id,
            EXISTS (SELECT FROM callkeeper_days AS d WHERE d.account_id = a.account_id)
            OR EXISTS (SELECT FROM callkeeper_webhooks AS w WHERE w.account_id = a.account_id)
                AS has_calls
        FROM general_accounts AS a
        WHERE a.name = %(name)s
    ) AS account
    ON CONFLICT DO NOTHING
"""
_APPLY: Final = """
    UPDATE callkeeper_privacy_settings AS s SET applied_at = now()
    FROM general_accounts AS a
    WHERE a.account_id = s.account_id AND a.name = %(name)s AND s.setting = %(setting)s
        AND s.used_from = (
            SELECT max(used_from) FROM callkeeper_privacy_settings AS n
            WHERE n.account_id = s.account_id
        )
"""
_HAS_CALLS: Final = """
    SELECT EXISTS (
        SELECT FROM general_accounts AS a
        WHERE a.name = %(name)s AND (
            EXISTS (SELECT FROM callkeeper_days AS d WHERE d.account_id = a.account_id)
            OR EXISTS (SELECT FROM callkeeper_webhooks AS w WHERE w.account_id = a.account_id)
        )
    )
"""


@dataclass(frozen=True)
class UsedSetting:
    """The newest setting that calls were written under.

    Attributes:
        applied_at: since when it holds for all stored calls; None if older ones are otherwise.
    """

    setting: str
    used_from: datetime
    applied_at: datetime | None


def read_newest_setting(connection: _Connection, source: str) -> UsedSetting | None:
    """Return the newest setting of a source; None if it always kept everything."""
    row = connection.execute(_NEWEST, {"name": source}).fetchone()
    return UsedSetting(*row) if row else None


def note_setting(connection: _Connection, source: str, rule: Rule) -> None:
    """Note that calls are written under a rule from now on, unless it is noted already."""
    newest = read_newest_setting(connection, source)
    if newest.setting == rule.setting if newest else not rule.is_active:
        return
    # Before the first load there is no account yet, and no older call either.
    make_account(connection, source)
    connection.execute(_NOTE, {"name": source, "setting": rule.setting})


def note_applied(connection: _Connection, source: str, setting: str) -> None:
    """Note that all stored calls of a source are as its newest setting wants them."""
    connection.execute(_APPLY, {"name": source, "setting": setting})


def has_calls(connection: _Connection, source: str) -> bool:
    """Whether anything of a source is stored."""
    row = connection.execute(_HAS_CALLS, {"name": source}).fetchone()
    return bool(row and row[0])
