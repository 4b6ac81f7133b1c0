"""Sends planned webhooks from several connections at once, and records what came of each.

A call's webhooks go over one connection, so that none overtakes another unasked; only its
duplicates go over the next, where they race with what they repeat.
"""

import datetime as dt
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from callkeeper_assets.simulator.deliveries import Delivery, DeliveryLog, Outcome
from callkeeper_assets.simulator.settings import AnswerSettings
from callkeeper_assets.simulator.webhook_bodies import build_body, render_payload
from callkeeper_assets.simulator.webhook_connection import WebhookConnection
from callkeeper_assets.simulator.webhook_plan import Webhook
from callkeeper_assets.simulator.webhook_settings import WebhookSettings


class _Batch:
    """Webhooks that are sent together, dealt out to lanes of one connection each."""

    def __init__(
        self,
        webhooks: Sequence[Webhook],
        settings: WebhookSettings,
        answers: AnswerSettings,
        rate: float | None,
    ) -> None:
        self.settings = settings
        self.answers = answers
        self.rate = rate
        self.started = time.monotonic()
        self.done: list[list[Delivery]] = [[] for _ in webhooks]
        self.lanes: list[list[tuple[int, Webhook]]] = [[] for _ in range(settings.connections)]
        self.under_way = [threading.Event() for _ in webhooks]
        originals: dict[tuple[int, str], threading.Event] = {}
        for position, webhook in enumerate(webhooks):
            call_id = webhook.call.call_id
            lane = (call_id + webhook.is_duplicate) % settings.connections
            self.lanes[lane].append((position, webhook))
            if not webhook.is_duplicate:
                originals[call_id, webhook.event] = self.under_way[position]
        # None: its original went with an earlier batch, or it is one.
        self.awaited = [
            originals.get((each.call.call_id, each.event)) if each.is_duplicate else None
            for each in webhooks
        ]

    def wait_sec(self, position: int) -> float:
        """How long the webhook of that position has to wait for its turn."""
        if self.rate is None:
            return 0.0
        return max(0.0, self.started + position / self.rate - time.monotonic())


class WebhookSender:
    """One account's way to its receivers, with the connections that it keeps alive."""

    def __init__(self, log: DeliveryLog) -> None:
        self._log = log
        self._closing = threading.Event()
        self._idle: list[WebhookConnection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Send no more; what is under way still gets its answer."""
        self._closing.set()
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def send(
        self,
        webhooks: Sequence[Webhook],
        settings: WebhookSettings,
        answers: AnswerSettings,
        rate: float | None = None,
    ) -> list[Delivery]:
        """Send in the given order, at most `rate` a second; return when all are done.

        Returns:
            What came of each, in the given order: one record a try.
        """
        batch = _Batch(webhooks, settings, answers, rate)
        lanes = [lane for lane in batch.lanes if lane]
        if lanes:
            with ThreadPoolExecutor(len(lanes), "callkeeper-webhooks") as pool:
                for result in [pool.submit(self._send_lane, batch, lane) for lane in lanes]:
                    result.result()
        return [delivery for tries in batch.done for delivery in tries]

    def _send_lane(self, batch: _Batch, lane: list[tuple[int, Webhook]]) -> None:
        try:
            with self._borrow_connection(batch.settings) as connection:
                for position, webhook in lane:
                    self._closing.wait(batch.wait_sec(position))
                    awaited = batch.awaited[position]
                    if awaited is not None:
                        awaited.wait()
                    batch.under_way[position].set()
                    if self._closing.is_set():
                        return
                    tries = self._send_webhook(connection, webhook, batch.answers)
                    batch.done[position] = list(tries)
        finally:
            # Other lanes must not wait for what this one no longer sends.
            for position, _ in lane:
                batch.under_way[position].set()

    @contextmanager
    def _borrow_connection(self, settings: WebhookSettings) -> Iterator[WebhookConnection]:
        with self._lock:
            while self._idle and self._idle[-1].settings != settings:
                self._idle.pop().close()
            connection = self._idle.pop() if self._idle else WebhookConnection(settings)
        try:
            yield connection
        finally:
            with self._lock:
                if self._closing.is_set():
                    connection.close()
                else:
                    self._idle.append(connection)

    def _send_webhook(
        self, connection: WebhookConnection, webhook: Webhook, answers: AnswerSettings
    ) -> Iterator[Delivery]:
        """Send until it is answered with 2xx, at most as often as the settings allow."""
        settings = connection.settings
        payload = render_payload(
            build_body(webhook.call, webhook.event, answers, settings), settings
        )
        for attempt in range(1, settings.tries + 1):
            sent_at, started = dt.datetime.now(dt.UTC), time.monotonic()
            status, problem = (None, None) if webhook.is_lost else connection.send(payload)
            delivery = Delivery(
                number=0,
                call_id=webhook.call.call_id,
                event=webhook.event,
                sent_at=sent_at,
                address=settings.url,
                method=settings.method,
                outcome=_name_outcome(webhook, status),
                status=status,
                problem=problem,
                is_duplicate=webhook.is_duplicate,
                attempt=attempt,
                answer_sec=None if status is None else time.monotonic() - started,
                payload=payload,
            )
            yield self._log.add(delivery)
            is_settled = delivery.is_accepted or webhook.is_lost or attempt == settings.tries
            if is_settled or self._closing.wait(settings.retry_wait_sec):
                return


def _name_outcome(webhook: Webhook, status: int | None) -> Outcome:
    if webhook.is_lost:
        return "lost"
    return "unanswered" if status is None else "answered"
