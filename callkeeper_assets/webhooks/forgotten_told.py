"""Payloads of forgotten calls that are in the inbox: read, and left there, without the person.

The receiver takes the person out of what it stores; here is what came before it knew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from callkeeper_assets.privacy.rewriting import Eraser, NotJsonError, Scope
from callkeeper_assets.warehouse.forgotten_calls import read_forgotten_of
from callkeeper_assets.warehouse.session import Session
from callkeeper_assets.webhooks.inbox_rows import Row, write_body
from callkeeper_assets.webhooks.last_words import Told
from callkeeper_assets.webhooks.protection import erase_body

__all__ = ["ForgottenTold", "read_forgotten_told"]


@dataclass(frozen=True)
class ForgottenTold:
    """The forgotten calls of one source.

    Attributes:
        fields: By path in a raw call, the name under which this account sends the value.
        scopes: What is left of each call, by its id.
    """

    session: Session
    account_id: int
    fields: Mapping[str, str]
    scopes: Mapping[int, Scope]

    def erase(self, told: Told) -> Told:
        """Return what a payload told, without the person if its call was forgotten."""
        scope = self.scopes.get(told.call.call_id)
        if scope is None:
            return told
        try:
            payload = Eraser().erase(told.call.payload, scope)
        except NotJsonError:
            payload = b"{}"
        return replace(told, call=replace(told.call, payload=payload))

    def erase_bodies(self, rows: Iterable[Row]) -> None:
        """Take the person out of the inbox where payloads of forgotten calls came in clear."""
        for row in rows:
            scope = self.scopes.get(row.call_id) if row.call_id is not None else None
            if scope is None:
                continue
            form, body = erase_body(row.format, row.body, Eraser(self.fields), scope)
            if (form, body) != (row.format, row.body):
                write_body(self.session, self.account_id, row.id, form, body)


def read_forgotten_told(
    session: Session, account_id: int, fields: Mapping[str, str]
) -> ForgottenTold:
    """Read which calls of a source were forgotten."""
    return ForgottenTold(session, account_id, fields, read_forgotten_of(session, account_id))
