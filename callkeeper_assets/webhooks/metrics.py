"""What the receiver counts, for Prometheus. Names are a user's: dashboards go by them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

_GROUPS: Final = (1, 2, 5, 10, 20, 50, 100)
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The receiver's figures; one object a process."""

    def __init__(self) -> None:
        # They would be as many series more, of which nobody asks.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "callkeeper_webhook_requests",
            "Requests, by source (empty if it was not let in) and status answered",
            ["source", "status"],
            registry=registry,
        )
        # Finding one by its labels costs as much as all else of counting.
        self._requests_of: dict[tuple[str, int], Counter] = {}
        self.seconds = Histogram(
            "callkeeper_webhook_seconds",
            "From a request's head to its answer",
            buckets=_SECONDS,
            registry=registry,
        )
        self.group_size = Histogram(
            "callkeeper_webhook_group_size",
            "Payloads stored by one commit",
            buckets=_GROUPS,
            registry=registry,
        )
        self.repeats = Counter(
            "callkeeper_webhook_repeats", "Payloads that had come before", registry=registry
        )
        self.spooled = Gauge(
            "callkeeper_webhook_spooled", "Payloads that wait in the spool", registry=registry
        )
        self.is_database_reachable = Gauge(
            "callkeeper_webhook_database_reachable",
            "1 if the inbox's database is, else 0",
            registry=registry,
        )
        self._waiting = Gauge(
            "callkeeper_webhook_waiting",
            "Payloads in the inbox that are not processed yet",
            ["source"],
            registry=registry,
        )
        self._oldest = Gauge(
            "callkeeper_webhook_oldest_timestamp_seconds",
            "When the oldest of them came",
            ["source"],
            registry=registry,
        )
        self._hinted = Gauge(
            "callkeeper_webhook_hinted_days",
            "Days to be read again, as webhooks of call tracking hint at calls on them",
            ["source"],
            registry=registry,
        )
        ProcessCollector(registry=registry)

    def count_request(self, source: str, status: int) -> None:
        """Count a request that is answered; `source` is empty if it was not let in."""
        counter = self._requests_of.get((source, status))
        if counter is None:
            counter = self._requests.labels(source, str(status))
            self._requests_of[source, status] = counter
        counter.inc()

    def set_waiting(
        self, waiting: Iterable[tuple[str, int, datetime]], hinted: Mapping[str, int]
    ) -> None:
        """Show what waits now: by source, payloads and the oldest one's time; days by hints."""
        for gauge in (self._waiting, self._oldest, self._hinted):
            gauge.clear()
        for source, number, received_at in waiting:
            self._waiting.labels(source).set(number)
            self._oldest.labels(source).set(received_at.timestamp())
        for source, number in hinted.items():
            self._hinted.labels(source).set(number)

    def render(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)
