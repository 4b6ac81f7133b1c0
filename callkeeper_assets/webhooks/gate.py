"""Whom a URL lets in. What it says takes the same time whoever knocks, with whatever token.

Who is let in is kept by its source's privacy settings, which are read with its token.
"""

import hmac
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from callkeeper_assets.api.redaction import register_secret
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.source import Source
from callkeeper_assets.privacy.rewriting import Protector
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.webhooks.delivery import Delivery
from callkeeper_assets.webhooks.protection import protect_delivery

_logger = logging.getLogger(__name__)

# Stands for the token of a source that does not exist.
_NOBODYS: Final = os.urandom(32)


@dataclass(frozen=True)
class Sender:
    """A source that may send webhooks.

    Attributes:
        fields: By path in a raw call, the name under which its account sends the value.
    """

    name: str
    token: bytes
    fields: Mapping[str, str]
    protector: Protector

    def protect(self, delivery: Delivery) -> Delivery:
        """Return a payload of its as it may be written."""
        return protect_delivery(delivery, self.protector, self.fields)


class Gate:
    """The sources that take webhooks and have their secrets set; others are like unknown ones."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._senders: dict[bytes, Sender] = {}
        for source in sources:
            if source.webhook is None:
                continue
            try:
                token = source.read_webhook_token()
                rule = source.read_privacy_rule()
            except MissingSecretError as error:
                _logger.warning("%s Until then its webhooks are answered with 404.", error)
                continue
            register_secret(token)
            register_secret(rule.key.decode())
            fields = source.webhook.fields
            self._senders[source.name.encode()] = Sender(
                source.name, token.encode(), fields, Protector(rule, fields)
            )

    @property
    def rules(self) -> dict[str, Rule]:
        """By source, what becomes of personal data."""
        return {sender.name: sender.protector.rule for sender in self._senders.values()}

    @property
    def renamed(self) -> dict[str, Mapping[str, str]]:
        """By source, the names under which its account sends fields."""
        return {sender.name: sender.fields for sender in self._senders.values()}

    def admit(self, name: bytes, token: bytes) -> Sender | None:
        """Return who may send by this; None for an unknown source and for a wrong token alike."""
        sender = self._senders.get(name)
        # Takes as long as the second of them is, whatever the first.
        is_right = hmac.compare_digest(_NOBODYS if sender is None else sender.token, token)
        return sender if is_right else None
