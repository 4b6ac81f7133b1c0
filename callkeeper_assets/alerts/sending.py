"""Delivers a message: by Apprise to whatever its URL names, or as JSON to a webhook.

One try each; whoever calls tries again. A webhook is told a message's key (`Idempotency-Key`), by
which it can tell one that comes twice. Apprise is imported here alone, and when it is used.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import requests

from callkeeper_assets.alerts.settings import Channel
from callkeeper_assets.privacy.redaction import excerpt

_TIMEOUT_SEC: Final = 10.0
_LONGEST_ERROR: Final = 300
_REFUSED: Final = 300


class UndeliveredError(Exception):
    """A message was not taken; says why, without a secret."""


@dataclass(frozen=True)
class Parcel:
    """What a channel is given; `key` tells it apart, however often it is given."""

    key: str
    title: str
    body: str
    document: Mapping[str, Any]


class _Complaints(logging.Handler):
    """Keeps what a library says of its failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.texts.append(record.getMessage())


@contextmanager
def _heard(name: str) -> Iterator[_Complaints]:
    logger = logging.getLogger(name)
    complaints = _Complaints()
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(complaints)
    try:
        yield complaints
    finally:
        logger.removeHandler(complaints)
        logger.propagate = propagated


def send(channel: Channel, parcel: Parcel) -> None:
    """Deliver a message to a channel.

    Raises:
        UndeliveredError: It was not taken, or nobody said so in time.
    """
    if channel.is_webhook:
        _post(channel.url, parcel)
    else:
        _notify(channel.url, parcel)


def _post(url: str, parcel: Parcel) -> None:
    document = {**parcel.document, "key": parcel.key, "title": parcel.title, "text": parcel.body}
    try:
        answer = requests.post(
            url,
            json=document,
            headers={"Idempotency-Key": parcel.key},
            timeout=_TIMEOUT_SEC,
            # A key of the address would go along.
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise UndeliveredError(_explain(error)) from None
    if answer.status_code >= _REFUSED:
        raise UndeliveredError(
            excerpt(f"HTTP {answer.status_code}: {answer.text}".rstrip(": "), _LONGEST_ERROR)
        )


def _notify(url: str, parcel: Parcel) -> None:
    import apprise  # noqa: PLC0415 -- 28 MB, which only who sends pays

    with _heard("apprise") as complaints:
        sender = apprise.Apprise()
        if not sender.add(url):
            raise UndeliveredError(
                "Apprise does not know this kind of address, or it is not complete. "
                f"{excerpt(' '.join(complaints.texts), _LONGEST_ERROR)}".strip()
            )
        if not sender.notify(title=parcel.title, body=parcel.body, body_format="text"):
            said = excerpt(" ".join(complaints.texts), _LONGEST_ERROR)
            raise UndeliveredError(said or "it was not taken, and why is not said")


def ping(url: str) -> None:
    """Ask for an address that somebody watches.

    Raises:
        UndeliveredError: Nobody answered, or not well.
    """
    try:
        answer = requests.get(url, timeout=_TIMEOUT_SEC)
    except requests.RequestException as error:
        raise UndeliveredError(_explain(error)) from None
    if answer.status_code >= _REFUSED:
        raise UndeliveredError(f"HTTP {answer.status_code}")


def _explain(error: requests.RequestException) -> str:
    """Say what failed; requests' own texts have the address in them, whose secrets are known."""
    if isinstance(error, requests.Timeout):
        return f"no answer in {_TIMEOUT_SEC:.0f} s"
    return excerpt(f"no connection: {error}", _LONGEST_ERROR)
