"""An account's webhooks: sent on demand, or live by the clock, and every one remembered."""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from callkeeper_assets.simulator.generation import SimulatedCall
from callkeeper_assets.simulator.settings import AccountSettings, AnswerSettings, Clock
from callkeeper_assets.simulator.webhook_sender import (
    PlannedWebhook,
    WebhookSender,
    happened_events,
    list_events,
    plan_webhooks,
)
from callkeeper_assets.simulator.webhook_settings import (
    DeliveryLog,
    SentDelivery,
    WebhookEvent,
    WebhookSettings,
)

_TICK_SEC: Final = 0.2
_AHEAD_SEC: Final = 6 * 3600
# No call is open for longer by itself (see `generation.py`).
_BACK_SEC: Final = 2 * 86400


class CallRecords(Protocol):
    """What is known here of an account.

    `revision` is another number after each change of a call.
    """

    clock: Clock
    revision: int

    def list_calls(self, start: int, end: int) -> list[SimulatedCall]:
        """The calls that begin in a window of epoch seconds, as they will have ended."""


class LiveWebhooks:
    """The webhooks of calls that begin or settle after this was made."""

    def __init__(self, account: CallRecords, seed: str) -> None:
        self._account = account
        self._seed = seed
        self._since = self._seen = account.clock.now()
        self._taken: set[tuple[int, str]] = set()
        self._planned: deque[PlannedWebhook] = deque()
        self._planned_until = 0
        self._basis: tuple[WebhookSettings, int] | None = None

    def take_due(self, settings: WebhookSettings) -> list[PlannedWebhook]:
        """What has become due since the last time, in its order."""
        now, basis = self._account.clock.now(), (settings, self._account.revision)
        if now < self._seen:
            # What happens again is sent again.
            self._since = self._seen = now
            self._taken.clear()
            self._basis = None
        if basis != self._basis or now > self._planned_until:
            self._basis = basis
            self._plan(now, settings)
        self._seen = now
        due = []
        while self._planned and self._planned[0].due_ts <= now:
            due.append(self._planned.popleft())
        self._taken.update(_identify(each) for each in due if not each.is_duplicate)
        return due

    def _plan(self, now: int, settings: WebhookSettings) -> None:
        self._planned_until = now + _AHEAD_SEC
        calls = self._account.list_calls(self._seen - _BACK_SEC, self._planned_until + 1)
        planned = plan_webhooks(
            [
                (call, list_events(call))
                for call in calls
                if max(call.called_ts, call.settles_ts) > self._since
            ],
            settings,
            self._seed,
        )
        self._taken.intersection_update(map(_identify, planned))
        self._planned = deque(filter(self._is_wanted, planned))

    def _is_wanted(self, webhook: PlannedWebhook) -> bool:
        if webhook.is_duplicate:
            return webhook.due_ts > self._seen
        # A call that was brought to its end at once was due before now, but is not sent yet.
        return webhook.due_ts > self._since and _identify(webhook) not in self._taken


def _identify(webhook: PlannedWebhook) -> tuple[int, str]:
    return webhook.call.call_id, webhook.event


class Ticker:
    """Does something five times a second, until it is stopped."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._stopping = threading.Event()
        # A daemon: an account that nobody closes must not keep its process from ending.
        self._thread = threading.Thread(
            target=self._run, name="callkeeper-live-webhooks", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Return when what is under way is done."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_TICK_SEC):
            self._act()


class SendingAccount(CallRecords, Protocol):
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
        self, calls: Iterable[SimulatedCall], events: Collection[WebhookEvent], rate: float | None
    ) -> list[SentDelivery]:
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
