"""Calls whose client was forgotten, as the tables record them: read by all that write calls."""

from collections.abc import Collection, Iterable
from datetime import date
from typing import Any, Final, NamedTuple

import psycopg

from callkeeper_assets.privacy.rewriting import Scope
from callkeeper_assets.warehouse.session import Session

_Connection = psycopg.Connection[tuple[Any, ...]]

_BY_NAME: Final = """
    SELECT f.call_id, f.scope
    FROM callkeeper_forgotten_calls AS f
    JOIN general_accounts AS a USING (account_id)
    WHERE a.name = %(name)s
"""
_BY_ACCOUNT: Final = "SELECT call_id, scope FROM callkeeper_forgotten_calls WHERE account_id = $1"
# A call that only mentioned one forgotten number may be another forgotten client's own.
_NOTE: Final = """
    INSERT INTO callkeeper_forgotten_calls AS f
        (account_id, call_id, scope, day, request_id, forgotten_at)
    SELECT %(account_id)s, *, %(request_id)s, now()
    FROM unnest(%(calls)s::bigint[], %(scopes)s::text[], %(days)s::date[])
    ON CONFLICT (account_id, call_id) DO UPDATE
    SET scope = excluded.scope, request_id = excluded.request_id,
        forgotten_at = excluded.forgotten_at, day = coalesce(excluded.day, f.day)
    WHERE f.scope = 'mention' AND excluded.scope = 'client'
"""


class ForgottenCall(NamedTuple):
    """A call to be noted; `day` is None if it is unknown."""

    call_id: int
    scope: Scope
    day: date | None


def read_forgotten_calls(connection: _Connection, source: str) -> dict[int, Scope]:
    """Return what is left of each forgotten call of a source, by call id."""
    return dict(connection.execute(_BY_NAME, {"name": source}).fetchall())


def read_forgotten_of(session: Session, account_id: int) -> dict[int, Scope]:
    """As `read_forgotten_calls`, over a load's own connection."""
    found = session.query(_BY_ACCOUNT, {"account_id": account_id})
    ids, scopes = (column.to_pylist() for column in found.columns)
    return dict(zip(ids, scopes, strict=True))


def note_forgotten_calls(
    connection: _Connection, account_id: int, request_id: str, calls: Iterable[ForgottenCall]
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
    connection.execute(_NOTE, values)
