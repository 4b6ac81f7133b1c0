"""What the receiver counts, for Prometheus. Names are a user's: dashboards go by them.

Counting is plain arithmetic, as each request pays for it; the client library renders what there is
when somebody asks. All of it happens in the event loop's thread.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

_GROUPS: Final = (1, 2, 5, 10, 20, 50, 100)
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Distribution:
    """How often a value was in each range, for a histogram."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text, self._bounds = name, text, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Note a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def describe(self) -> Metric:
        """What there is, as the client library wants it."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


class Metrics(Collector):
    """The receiver's figures; one object a process.

    Attributes:
        requests: By source (empty if it was not let in) and status answered.
        waiting: By source, payloads that are not processed yet, and the oldest one's time.
        hinted: By source, days that are to be read again for hints of call tracking.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds = Distribution(
            "callkeeper_webhook_seconds", "From a request's head to its answer", _SECONDS
        )
        self.group_size = Distribution(
            "callkeeper_webhook_group_size", "Payloads stored by one commit", _GROUPS
        )
        self.repeats = 0
        self.spooled = 0
        self.is_database_reachable = False
        self.waiting: list[tuple[str, int, datetime]] = []
        self.hinted: Counter[str] = Counter()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield all figures; the client library calls it."""
        requests = CounterMetricFamily(
            "callkeeper_webhook_requests",
            "Requests, by source (empty if it was not let in) and status answered",
            labels=["source", "status"],
        )
        for (source, status), number in self.requests.items():
            requests.add_metric([source, str(status)], number)
        yield requests
        yield self.seconds.describe()
        yield self.group_size.describe()
        yield CounterMetricFamily(
            "callkeeper_webhook_repeats", "Payloads that had come before", value=self.repeats
        )
        yield GaugeMetricFamily(
            "callkeeper_webhook_spooled", "Payloads that wait in the spool", value=self.spooled
        )
        yield GaugeMetricFamily(
            "callkeeper_webhook_database_reachable",
            "1 if the inbox's database is, else 0",
            value=self.is_database_reachable,
        )
        waiting = GaugeMetricFamily(
            "callkeeper_webhook_waiting",
            "Payloads in the inbox that are not processed yet",
            labels=["source"],
        )
        oldest = GaugeMetricFamily(
            "callkeeper_webhook_oldest_timestamp_seconds",
            "When the oldest of them came",
            labels=["source"],
        )
        for source, number, received_at in self.waiting:
            waiting.add_metric([source], number)
            oldest.add_metric([source], received_at.timestamp())
        yield waiting
        yield oldest
        hinted = GaugeMetricFamily(
            "callkeeper_webhook_hinted_days",
            "Days to be read again, as webhooks of call tracking hint at calls on them",
            labels=["source"],
        )
        for source, number in self.hinted.items():
            hinted.add_metric([source], number)
        yield hinted

    def render(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)
