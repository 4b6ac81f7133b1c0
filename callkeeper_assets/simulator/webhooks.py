"""An account's webhooks: sent on demand, or live by the clock, and every one remembered.

`webhook_plan.py` says what there is to send, `webhook_sender.py` sends it, `deliveries.py`
remembers it.
"""

import threading
from collections.abc import Collection, Iterable
from typing import Protocol

from callkeeper_assets.simulator.calls import Call
from callkeeper_assets.simulator.deliveries import Delivery, DeliveryLog
from callkeeper_assets.simulator.live_webhooks import CallBook, LiveWebhooks, Ticker
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings
from callkeeper_assets.simulator.webhook_plan import happened_events, plan_webhooks
from callkeeper_assets.simulator.webhook_sender import WebhookSender
from callkeeper_assets.simulator.webhook_settings import WebhookEvent, WebhookSettings


class SendingAccount(CallBook, Protocol):
    """What is known here of an account."""

    settings: AccountSettings
    answers: AnswerSettings


class Webhooks:
    """One account's webhooks; any thread may use them."""

    def __init__(self, account: SendingAccount, settings: WebhookSettings) -> None:
        self.settings = settings
        self.log = DeliveryLog()
        self._account = account
        self._sender = WebhookSender(self.log)
        self._lock = threading.Lock()
        self._rounds = 0
        self._live: Ticker | None = None
        self.configure(settings)

    def configure(self, settings: WebhookSettings) -> None:
        """Send by other switches from now on; what is being sent goes on by the old ones."""
        with self._lock:
            self.settings = settings
            if settings.live and self._live is None:
                live = LiveWebhooks(self._account, f"{self._seed}/live")
                self._live = Ticker(lambda: self._send_due(live))
            elif not settings.live:
                self._stop_live()

    def close(self) -> None:
        """Send nothing more."""
        self._sender.close()
        with self._lock:
            self._stop_live()

    def send(
        self, calls: Iterable[Call], events: Collection[WebhookEvent], rate: float | None
    ) -> list[Delivery]:
        """Send what has happened of calls by now; return what came of each, one record a try.

        Raises:
            ValueError: there is no URL to send to, or no rate a second.
        """
        settings = self.settings
        if not settings.url:
            name = self._account.settings.name
            raise ValueError(f"account {name} sends no webhooks: set the url of its webhooks first")
        if rate is not None and rate <= 0:
            raise ValueError(f"rate is {rate}; it is more than 0 webhooks a second")
        with self._lock:
            self._rounds += 1
            seed = f"{self._seed}/round {self._rounds}"
        now = self._account.clock.now()
        wanted = [
            (call, [event for event in happened_events(call, now) if event in events])
            for call in calls
        ]
        planned = plan_webhooks(wanted, settings, seed)
        return self._sender.send(planned, settings, self._account.answers, rate)

    @property
    def _seed(self) -> str:
        return f"{self._account.settings.seed}/{self._account.settings.key}"

    def _send_due(self, live: LiveWebhooks) -> None:
        settings = self.settings
        if settings.live:
            self._sender.send(live.take_due(settings), settings, self._account.answers)

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
