"""Sends an account's webhooks while its clock goes on: each when its call starts or settles.

What is due is planned an hour ahead and again after every change of a call, so that a look at the
clock costs nothing. A clock that a test sets forward has everything in between sent at once.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from callkeeper_assets.simulator.calls import Call
from callkeeper_assets.simulator.clock import Clock
from callkeeper_assets.simulator.webhook_plan import Webhook, plan_webhooks
from callkeeper_assets.simulator.webhook_settings import EVENTS, WebhookSettings

_TICK_SEC: Final = 0.2
_AHEAD_SEC: Final = 3600
# No call is open for longer by itself (see `generation.py`), nor its duplicates later.
_BACK_SEC: Final = 3 * 86400

Identity = tuple[int, str, bool]


class CallBook(Protocol):
    """What is known here of an account.

    `revision` is another number after each change of a call.
    """

    clock: Clock
    revision: int

    def list_calls(self, start: int, end: int) -> list[Call]:
        """The calls that begin in a window of epoch seconds, as they will have ended."""


def _identify(webhook: Webhook) -> Identity:
    return webhook.call.call_id, webhook.event, webhook.is_duplicate


class LiveWebhooks:
    """What is due of one account since this was made; a call that began before is only ended."""

    def __init__(self, book: CallBook, settings: WebhookSettings, seed: str) -> None:
        self._book = book
        self._settings = settings
        self._seed = seed
        self._since = self._seen = book.clock.now()
        self._taken: set[Identity] = set()
        self._planned: deque[Webhook] = deque()
        self._planned_until = 0
        self._revision = -1

    def take_due(self) -> list[Webhook]:
        """What has become due since the last time, in its order."""
        now = self._book.clock.now()
        if now < self._seen:
            # What happens again is told again.
            self._since = now
            self._taken.clear()
        if now < self._seen or now > self._planned_until or self._revision != self._book.revision:
            self._plan(now)
        self._seen = now
        due = []
        while self._planned and self._planned[0].due_ts <= now:
            due.append(self._planned.popleft())
        self._taken.update(map(_identify, due))
        return due

    def _plan(self, now: int) -> None:
        self._revision = self._book.revision
        self._planned_until = now + _AHEAD_SEC
        calls = self._book.list_calls(min(now, self._seen) - _BACK_SEC, self._planned_until + 1)
        planned = plan_webhooks([(call, EVENTS) for call in calls], self._settings, self._seed)
        self._taken.intersection_update(map(_identify, planned))
        self._planned = deque(
            webhook
            for webhook in planned
            if webhook.due_ts > self._since and _identify(webhook) not in self._taken
        )


class LiveThread:
    """Has what is due sent, five looks a second, until it is stopped."""

    def __init__(self, live: LiveWebhooks, send: Callable[[list[Webhook]], object]) -> None:
        self._live = live
        self._send = send
        self._stopping = threading.Event()
        # A daemon: an account that nobody closes must not keep its process from ending.
        self._thread = threading.Thread(
            target=self._run, name="callkeeper-live-webhooks", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Send nothing new; return when what is under way is answered."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_TICK_SEC):
            due = self._live.take_due()
            if due:
                self._send(due)
