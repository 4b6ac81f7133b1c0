"""The record of webhooks: the source's own truth about each that it sent, or believes it sent.

The unified API's `hooks` is told from here, and a test's question whether all that a receiver
accepted has arrived. It holds addresses with tokens, and phone numbers in payloads.
"""

import datetime as dt
import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from callkeeper_assets.simulator.webhook_settings import WebhookEvent, WebhookMethod

Outcome = Literal["answered", "unanswered", "lost"]

# 2 KB each: a long-lived simulator forgets the oldest.
_MOST: Final = 100_000


@dataclass(frozen=True)
class Delivery:
    """One webhook on its way, once for each try.

    Attributes:
        number: counts the account's deliveries from 1, in the order in which they ended.
        sent_at: real time in UTC, wherever the simulator's clock stands.
        address: the whole URL but for a `GET`'s payload.
        outcome: `lost` was never sent, though the source believes it was; `unanswered` may have
            arrived.
        status: of the receiver's answer; None without one.
        problem: what ended an unanswered one: an exception's name, as the text has the address.
        is_duplicate: the same webhook, sent another time for no reason.
        attempt: above 1 for one that is tried again.
        answer_sec: how long the receiver took.
        payload: the body, or a `GET`'s query.
    """

    number: int
    call_id: int
    event: WebhookEvent
    sent_at: dt.datetime
    address: str = field(repr=False)
    method: WebhookMethod
    outcome: Outcome
    status: int | None
    problem: str | None
    is_duplicate: bool
    attempt: int
    answer_sec: float | None
    payload: bytes = field(repr=False)

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver answered with 2xx: it has promised to keep the payload."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - 2xx


class DeliveryLog:
    """An account's deliveries, from any thread; the last 100,000 are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Delivery] = deque(maxlen=_MOST)
        self._count = 0

    def add(self, delivery: Delivery) -> Delivery:
        """Keep a delivery, under the next number."""
        with self._lock:
            self._count += 1
            numbered = replace(delivery, number=self._count)
            self._kept.append(numbered)
        return numbered

    @property
    def count(self) -> int:
        """How many there have been."""
        with self._lock:
            return self._count

    def list(self, call_ids: Collection[int] = (), after: int = 0) -> list[Delivery]:
        """Those of the given calls, or of all, with a higher number than `after`."""
        with self._lock:
            kept = tuple(self._kept)
        return [
            each
            for each in kept
            if each.number > after and (not call_ids or each.call_id in call_ids)
        ]
