"""Keeps deliveries: many at once into the inbox, into the spool while the database is away.

And what is counted of it for Prometheus: names of metrics are a user's, dashboards go by them.
"""

import asyncio
import contextlib
import logging
import signal
import time
from bisect import bisect_left
from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import accumulate
from typing import Final

import msgspec
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

from callkeeper_assets.webhooks.inbox import STORES_AT_ONCE, Inbox, InboxAwayError
from callkeeper_assets.webhooks.payload import Delivery
from callkeeper_assets.webhooks.spool import Spool

_GROUPS: Final = (1, 2, 5, 10, 20, 50, 100)
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_logger = logging.getLogger(__name__)

# Of one transaction; what is more goes with the next. Few: answers that come by the hundred, and
# then none, leave everybody idle by turns.
_MOST_AT_ONCE: Final = 64
# Nobody waits for these.
_MOST_DRAINED_AT_ONCE: Final = 500
_MOST_BYTES_AT_ONCE: Final = 8 * 1024 * 1024
_FIRST_PAUSE_SEC: Final = 0.2
_LONGEST_PAUSE_SEC: Final = 5.0
_PING_SEC: Final = 2.0
_LOOK_FOR_LEFT_SEC: Final = 5.0
_UNREADABLE_PAUSE_SEC: Final = 60.0
_PROBE_KEPT_SEC: Final = 2.0

# Called with whether the delivery is kept.
OnKept = Callable[[bool], None]


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


class NowhereError(Exception):
    """Neither the database nor the disk took a delivery."""


def _begin(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    task.add_done_callback(_end_if_failed)
    return task


def _end_if_failed(task: asyncio.Task[None]) -> None:
    """End the process for a bug in a task: a receiver that takes and never answers is worse."""
    if not task.cancelled() and task.exception() is not None:
        _logger.critical("The receiver ends: report this.", exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)


class Intake:
    """Where the receiver puts what it got; `start` before use, `stop` after it."""

    def __init__(self, inbox: Inbox, spool: Spool, metrics: Metrics) -> None:
        self.inbox = inbox
        self._spool = spool
        self._metrics = metrics
        self._pending: deque[tuple[Delivery, OnKept]] = deque()
        self._work = asyncio.Event()
        # Set while there is no connection; at first there is none.
        self._lost = asyncio.Event()
        self._lost.set()
        self._is_loss_said = False
        self._spool_alone = asyncio.Lock()
        self._storing: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []
        self._is_stopping = False
        self._is_disk_refusing = False
        self._drain_from = 0.0
        self._probe: tuple[float, str | None] = (0.0, None)

    @property
    def spooled(self) -> int:
        """Deliveries that wait in the spool."""
        return self._spool.waiting

    def keep(self, delivery: Delivery, on_kept: OnKept) -> None:
        """Keep a delivery; call `on_kept` when it is on disk, or cannot be kept."""
        self._pending.append((delivery, on_kept))
        self._work.set()

    def start(self) -> None:
        """Begin. What comes before the database is reached goes to the spool: no sender waits."""
        self._storing = [_begin(self._store_all()) for _ in range(STORES_AT_ONCE)]
        self._others = [_begin(self._look_after_database()), _begin(self._look_for_left())]

    async def stop(self) -> None:
        """Store what is pending, then give everything up."""
        self._is_stopping = True
        self._work.set()
        for task in self._others:
            task.cancel()
        await asyncio.gather(*self._storing, *self._others, return_exceptions=True)
        await self.inbox.leave()
        await self.inbox.close()
        self._spool.close()

    async def find_disk_problem(self) -> str | None:
        """Say why the spool could keep nothing; None if it could. Looks at most every 2 s."""
        looked_at, problem = self._probe
        now = time.monotonic()
        if not looked_at or now - looked_at > _PROBE_KEPT_SEC:
            problem = await asyncio.to_thread(self._spool.probe)
            self._probe = (now, problem)
        return problem

    # Storing.

    async def _store_all(self) -> None:
        while not (self._is_stopping and not self._pending):
            await self._work.wait()
            self._work.clear()
            while self._pending or (self._has_to_drain() and not self._is_stopping):
                if self._pending:
                    await self._store_group()
                if self._has_to_drain() and not self._is_stopping:
                    await self._drain_some()

    def _has_to_drain(self) -> bool:
        # By one at a time; others store meanwhile.
        is_time = time.monotonic() >= self._drain_from and not self._spool_alone.locked()
        return self.inbox.is_connected and self._spool.waiting > 0 and is_time

    async def _store_group(self) -> None:
        group: list[tuple[Delivery, OnKept]] = []
        size = 0
        while self._pending and len(group) < _MOST_AT_ONCE and size < _MOST_BYTES_AT_ONCE:
            group.append(self._pending.popleft())
            size += len(group[-1][0].body)
        is_kept = False
        try:
            await self._store([delivery for delivery, _ in group])
            is_kept = True
        except NowhereError:
            pass
        finally:
            # Each waiting request gets its answer, whatever it is.
            for _, on_kept in group:
                on_kept(is_kept)

    async def _store(self, deliveries: list[Delivery]) -> None:
        self._metrics.group_size.observe(len(deliveries))
        if self.inbox.is_connected:
            try:
                repeats = await self.inbox.store(deliveries)
            except InboxAwayError as error:
                self._note_loss(error)
            else:
                self._metrics.repeats.inc(repeats)
                return
        try:
            async with self._spool_alone:
                await asyncio.to_thread(self._spool.append, deliveries)
        except OSError as error:
            if not self._is_disk_refusing:
                _logger.error(  # noqa: TRY400 -- the cause is in the text
                    "Webhooks are refused: the database is away, and the spool in %s cannot be "
                    "written: %s. Free space, or correct permissions, or bring the database back.",
                    self._spool.folder,
                    error.strerror,
                )
            self._is_disk_refusing = True
            raise NowhereError from error
        self._is_disk_refusing = False

    async def _drain_some(self) -> None:
        """Move the spool's next deliveries into the inbox."""
        async with self._spool_alone:
            deliveries = await self._read_spool()
            if not deliveries:
                return
            try:
                self._metrics.repeats.inc(await self.inbox.store(deliveries))
            except InboxAwayError as error:
                self._note_loss(error)
                # Were it for what is in the spool, this would go round and round.
                self._drain_from = time.monotonic() + _LONGEST_PAUSE_SEC
                return
            self._spool.forget_read()
            if not self._spool.waiting:
                # Removes the files.
                await self._read_spool()
                _logger.info("The spool is drained: all of it is in the inbox.")

    async def _read_spool(self) -> list[Delivery]:
        try:
            return await asyncio.to_thread(self._spool.read, _MOST_DRAINED_AT_ONCE)
        except (OSError, msgspec.DecodeError) as error:
            _logger.error("The spool cannot be read: %s. Its files stay.", error)  # noqa: TRY400
            self._drain_from = time.monotonic() + _UNREADABLE_PAUSE_SEC
            return []

    # The connection, and what others left.

    def _note_loss(self, error: InboxAwayError) -> None:
        if self.inbox.is_connected:
            # It has been reached again meanwhile.
            return
        self._lost.set()
        if self._is_loss_said:
            return
        self._is_loss_said = True
        _logger.warning(
            "The database is away: %s. Webhooks are kept in %s, and move to the inbox by "
            "themselves when it is back.",
            error,
            self._spool.folder,
        )

    async def _reach_database(self) -> bool:
        try:
            name = await self.inbox.connect()
        except InboxAwayError as error:
            self._note_loss(error)
            return False
        self._lost.clear()
        self._is_loss_said = False
        _logger.info("The inbox is in %s; %d payloads wait in the spool.", name, self.spooled)
        self._work.set()
        return True

    async def _look_after_database(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), _PING_SEC)
            if not self._lost.is_set():
                await self._ping()
                continue
            pause = _FIRST_PAUSE_SEC
            while not await self._reach_database():
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE_SEC, 2 * pause)

    async def _ping(self) -> None:
        """Notice while nothing comes that the database went; it is looked for at once then."""
        try:
            await self.inbox.ping()
        except InboxAwayError as error:
            self._note_loss(error)

    async def _take_over_left(self) -> None:
        async with self._spool_alone:
            found = await asyncio.to_thread(self._spool.take_over)
        if found:
            _logger.info("The spool holds %d payloads that a receiver before left.", found)

    async def _look_for_left(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._take_over_left()
            # For a drain that was put off as well.
            self._work.set()
            await asyncio.sleep(_LOOK_FOR_LEFT_SEC)
