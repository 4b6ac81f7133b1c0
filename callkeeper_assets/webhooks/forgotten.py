"""Which calls were forgotten, as a receiver knows it: it stores their webhooks without the person.

Asked for when the database is reached, then every few seconds. What comes in between is stored as
it came, and processing takes the person out of it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from msgspec.structs import replace

from callkeeper_assets.privacy.rewriting import Eraser, Scope
from callkeeper_assets.webhooks.delivery import Delivery
from callkeeper_assets.webhooks.protection import erase_body

_NEW: Final = """
    SELECT a.name, f.call_id, f.scope, f.forgotten_at
    FROM callkeeper_forgotten_calls AS f
    JOIN general_accounts AS a USING (account_id)
    WHERE f.forgotten_at >= %(since)s
"""
# A transaction that noted calls may be seen later than one that began after it.
_OVERLAP: Final = timedelta(minutes=5)


class ForgottenCalls:
    """The forgotten calls of all sources.

    Args:
        renamed: By source, the names under which its account sends fields.
    """

    def __init__(self, renamed: Mapping[str, Mapping[str, str]]) -> None:
        self._erasers = {name: Eraser(fields) for name, fields in renamed.items()}
        self._scopes: dict[tuple[str, int], Scope] = {}
        self._since = datetime.min.replace(tzinfo=UTC)

    async def look(self, connection: "psycopg.AsyncConnection[tuple[Any, ...]]") -> None:
        """Learn which calls were forgotten since the last look."""
        found = await connection.execute(_NEW, {"since": self._since})
        newest = self._since
        for name, call_id, scope, forgotten_at in await found.fetchall():
            self._scopes[name, call_id] = scope
            newest = max(newest, forgotten_at - _OVERLAP)
        self._since = newest

    def erase(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Return deliveries as they may be stored."""
        return [self._erase(one) for one in deliveries] if self._scopes else deliveries

    def _erase(self, delivery: Delivery) -> Delivery:
        if delivery.call_id is None:
            return delivery
        scope = self._scopes.get((delivery.source, delivery.call_id))
        if scope is None:
            return delivery
        eraser = self._erasers.get(delivery.source) or Eraser()
        form, body = erase_body(delivery.format, delivery.body, eraser, scope)
        return replace(delivery, format=form, body=body)
