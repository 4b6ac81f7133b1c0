"""A source's row in general_accounts, and what is kept of the source: settings, forgotten calls.

The privacy settings are those under which its calls were written: a changed one holds for new
calls, for older ones once `callkeeper protect` has applied it. For whoever has a connection of
psycopg, and the statements for who has another one. Imports nothing heavy: the receiver of webhooks
makes accounts. What a load writes into the row, `load_log` does.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from callkeeper_assets.privacy.rule import Rule

if TYPE_CHECKING:
    import psycopg

    from callkeeper_assets.privacy.rewriting import Scope
    from callkeeper_assets.warehouse.session import Session

    Connection = psycopg.Connection[tuple[Any, ...]]


FIND_ACCOUNTS: Final = "SELECT name, account_id FROM general_accounts WHERE name = ANY(%(names)s)"
FIND_ACCOUNT: Final = "SELECT account_id FROM general_accounts WHERE name = %(name)s"
# As a first load makes it. No number is taken where the account is there.
MAKE_ACCOUNT: Final = """
    WITH next AS (
        SELECT nextval(pg_get_serial_sequence('general_accounts', 'id')) AS id
        WHERE NOT EXISTS (SELECT FROM general_accounts WHERE name = %(name)s)
    )
    INSERT INTO general_accounts (id, account_id, caption, service, enabled, status, name)
    SELECT id, id, %(caption)s, 'CallKeeper', true, 'new', %(name)s FROM next
    ON CONFLICT (name) DO NOTHING
    RETURNING account_id
"""

_NEWEST_SETTING: Final = """
    SELECT s.setting, s.used_from, s.applied_at
    FROM callkeeper_privacy_settings AS s
    JOIN general_accounts AS a USING (account_id)
    WHERE a.name = %(name)s
    ORDER BY s.used_from DESC
    LIMIT 1
"""
# What began with a setting has no older calls. A source that always kept all needs no row.
_NOTE_SETTING: Final = """
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

_FORGOTTEN_BY_NAME: Final = """
    SELECT f.call_id, f.scope
    FROM callkeeper_forgotten_calls AS f
    JOIN general_accounts AS a USING (account_id)
    WHERE a.name = %(name)s
"""
_FORGOTTEN_BY_ACCOUNT: Final = (
    "SELECT call_id, scope FROM callkeeper_forgotten_calls WHERE account_id = $1"
)
# A call that only mentioned one forgotten number may be another forgotten client's own.
_NOTE_FORGOTTEN: Final = """
    INSERT INTO callkeeper_forgotten_calls AS f
        (account_id, call_id, scope, day, request_id, forgotten_at)
    SELECT %(account_id)s, *, %(request_id)s, now()
    FROM unnest(%(calls)s::bigint[], %(scopes)s::text[], %(days)s::date[])
    ON CONFLICT (account_id, call_id) DO UPDATE
    SET scope = excluded.scope, request_id = excluded.request_id,
        forgotten_at = excluded.forgotten_at, day = coalesce(excluded.day, f.day)
    WHERE f.scope = 'mention' AND excluded.scope = 'client'
"""


def number_parameters(statement: str, names: Iterable[str]) -> str:
    """Return a statement with `$1`, `$2` … in place of parameters by name, for ADBC."""
    for number, name in enumerate(names, 1):
        statement = statement.replace(f"%({name})s", f"${number}")
    return statement


def find_account_by_name(connection: "Connection", name: str) -> int | None:
    """Return the source's number; None if the warehouse does not know it."""
    row = connection.execute(FIND_ACCOUNT, {"name": name}).fetchone()
    return int(row[0]) if row else None


def make_account(connection: "Connection", name: str) -> None:
    """Make the source's row unless it is there; a load puts the caption into it."""
    connection.execute(MAKE_ACCOUNT, {"name": name, "caption": name})


@dataclass(frozen=True)
class UsedSetting:
    """The newest setting that calls were written under.

    Attributes:
        applied_at: since when it holds for all stored calls; None if older ones are otherwise.
    """

    setting: str
    used_from: datetime
    applied_at: datetime | None


def read_newest_setting(connection: "Connection", source: str) -> UsedSetting | None:
    """Return the newest setting of a source; None if it always kept everything."""
    row = connection.execute(_NEWEST_SETTING, {"name": source}).fetchone()
    return UsedSetting(*row) if row else None


def note_setting(connection: "Connection", source: str, rule: Rule) -> None:
    """Note that calls are written under a rule from now on, unless it is noted already."""
    newest = read_newest_setting(connection, source)
    if newest.setting == rule.setting if newest else not rule.is_active:
        return
    # Before the first load there is no account yet, and no older call either.
    make_account(connection, source)
    connection.execute(_NOTE_SETTING, {"name": source, "setting": rule.setting})


def note_applied(connection: "Connection", source: str, setting: str) -> None:
    """Note that all stored calls of a source are as its newest setting wants them."""
    connection.execute(_APPLY, {"name": source, "setting": setting})


def has_calls(connection: "Connection", source: str) -> bool:
    """Whether anything of a source is stored."""
    row = connection.execute(_HAS_CALLS, {"name": source}).fetchone()
    return bool(row and row[0])


class ForgottenCall(NamedTuple):
    """A call to be noted; `day` is None if it is unknown."""

    call_id: int
    scope: "Scope"
    day: date | None


def read_forgotten_calls(connection: "Connection", source: str) -> "dict[int, Scope]":
    """Return what is left of each forgotten call of a source, by call id."""
    return dict(connection.execute(_FORGOTTEN_BY_NAME, {"name": source}).fetchall())


def read_forgotten_of(session: "Session", account_id: int) -> "dict[int, Scope]":
    """As `read_forgotten_calls`, over a load's own connection."""
    found = session.query(_FORGOTTEN_BY_ACCOUNT, {"account_id": account_id})
    ids, scopes = (column.to_pylist() for column in found.columns)
    return dict(zip(ids, scopes, strict=True))


def note_forgotten_calls(
    connection: "Connection", account_id: int, request_id: str, calls: Iterable[ForgottenCall]
) -> None:
    """Note that calls are forgotten; one whose client is forgotten already stays as it is."""
    noted: Collection[ForgottenCall] = list(calls)
    values = {
        "account_id": account_id,
        "request_id": request_id,
        "calls": [one.call_id for one in noted],
        "scopes": [one.scope for one in noted],
        "days": [one.day for one in noted],
    }
    connection.execute(_NOTE_FORGOTTEN, values)
