"""What the receiver counts, for Prometheus. Names are a user's: dashboards go by them.

What is counted of each request is plain arithmetic, in the event loop's thread: the library's own
counter and histogram, safe for threads, cost four times as much, a twelfth of the way from a
request to the intake.
"""

from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate
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
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_GROUPS: Final = (1, 2, 5, 10, 20, 50, 100)
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class _Requests(Collector):
    """How many requests were answered how, and how fast."""

    def __init__(self) -> None:
        self.numbers: Counts[tuple[str, int]] = Counts()
        self.by_range = [0] * (len(_SECONDS) + 1)
        self.seconds = 0.0

    def collect(self) -> Iterator[Metric]:
        """Yield both figures; the client library calls it."""
        numbers = CounterMetricFamily(
            "callkeeper_webhook_requests",
            "Requests, by source (empty if it was not let in) and status answered",
            labels=["source", "status"],
        )
        for (source, status), number in self.numbers.items():
            numbers.add_metric([source, str(status)], number)
        yield numbers
        bounds = [*(str(float(bound)) for bound in _SECONDS), "+Inf"]
        yield HistogramMetricFamily(
            "callkeeper_webhook_seconds",
            "From a request's head to its answer",
            buckets=list(zip(bounds, accumulate(self.by_range), strict=True)),
            sum_value=self.seconds,
        )


class Metrics:
    """The receiver's figures; one object a process."""

    def __init__(self) -> None:
        # They would be as many series more, of which nobody asks.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._requests = _Requests()
        registry.register(self._requests)
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

    def count_request(self, source: str, status: int, seconds: float) -> None:
        """Count a request that is answered; `source` is empty if it was not let in."""
        requests = self._requests
        requests.numbers[source, status] += 1
        requests.by_range[bisect_left(_SECONDS, seconds)] += 1
        requests.seconds += seconds

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
