"""What the receiver counts, for Prometheus. Names are a user's: dashboards go by them."""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_GROUPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The receiver's figures; one object a process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._registry = registry
        self._children: dict[tuple[str, int], Counter] = {}
        self.requests = Counter(
            "callkeeper_webhook_requests",
            "Requests, by source (empty if it was not let in) and status answered",
            ["source", "status"],
            registry=registry,
        )
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
            "callkeeper_webhook_repeats",
            "Payloads that had come before",
            registry=registry,
        )
        self.spooled = Gauge(
            "callkeeper_webhook_spooled", "Payloads that wait in the spool", registry=registry
        )
        self.is_database_reachable = Gauge(
            "callkeeper_webhook_database_reachable",
            "1 if the inbox's database is, else 0",
            registry=registry,
        )
        self.waiting = Gauge(
            "callkeeper_webhook_waiting",
            "Payloads in the inbox that are not processed yet",
            ["source"],
            registry=registry,
        )
        self.oldest = Gauge(
            "callkeeper_webhook_oldest_timestamp_seconds",
            "When the oldest of them came",
            ["source"],
            registry=registry,
        )

    def count(self, source: str, status: int, seconds: float) -> None:
        """Count a request."""
        child = self._children.get((source, status))
        if child is None:
            child = self.requests.labels(source, status)
            self._children[source, status] = child
        child.inc()
        self.seconds.observe(seconds)

    def render(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)
