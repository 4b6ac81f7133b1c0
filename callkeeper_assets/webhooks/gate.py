"""Whom a URL lets in. What it says takes the same time whoever knocks, with whatever token.

Who is let in is kept by its source's privacy settings, which are read with its token.
"""

import hashlib
import hmac
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Final

from callkeeper_assets.api.redaction import register_secret
from callkeeper_assets.config.errors import MissingSecretError
from callkeeper_assets.config.source import Source, Webhook
from callkeeper_assets.privacy.rewriting import Protector
from callkeeper_assets.privacy.rule import Rule
from callkeeper_assets.webhooks.payload import Payload
from callkeeper_assets.webhooks.protection import protect_payload

_logger = logging.getLogger(__name__)

_NOBODY: Final = hashlib.sha256(os.urandom(32)).digest()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Gate:
    """The sources that take webhooks and have their secrets set; others are like unknown ones."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._tokens: dict[str, bytes] = {}
        self._webhooks: dict[str, Webhook] = {}
        self._protectors: dict[str, Protector] = {}
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
            self._tokens[source.name] = _digest(token)
            self._webhooks[source.name] = source.webhook
            self._protectors[source.name] = Protector(rule, source.webhook.fields)

    @property
    def names(self) -> list[str]:
        """The sources that are let in."""
        return list(self._tokens)

    @property
    def rules(self) -> dict[str, Rule]:
        """By source, what becomes of personal data."""
        return {name: protector.rule for name, protector in self._protectors.items()}

    @property
    def renamed(self) -> dict[str, Mapping[str, str]]:
        """By source, the names under which its account sends fields."""
        return {name: webhook.fields for name, webhook in self._webhooks.items()}

    def protect(self, name: str, payload: Payload) -> Payload:
        """Return a payload of a source that is let in, as it may be written."""
        return protect_payload(payload, self._protectors[name], self._webhooks[name].fields)

    def admit(self, name: str, token: str) -> Webhook | None:
        """Return the source's settings; None for an unknown source and for a wrong token alike."""
        is_right = hmac.compare_digest(_digest(token), self._tokens.get(name, _NOBODY))
        return self._webhooks.get(name) if is_right else None
