"""The client of a source, whichever of CallKeeper's APIs it has: the account, the calls of days.

A day is asked for as one window where the source answers that, in halves where it does not. Days
are fetched side by side and handed out in order, a bounded number of them held at a time.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Self, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from callkeeper_assets.api.day_reader import DayReader, ReadDay, SourceApi, WindowFailedError
from callkeeper_assets.api.errors import AbortError, CallKeeperError
from callkeeper_assets.api.names import (
    BASE_URLS,
    CHECK_ANSWERS_FROM,
    ApiName,
    Role,
    list_addresses,
)
from callkeeper_assets.api.records import DayOfCalls, UserInfo
from callkeeper_assets.api.redaction import redact
from callkeeper_assets.api.session import Errand, RetryPolicy, SourceSession
from callkeeper_assets.api.statistics_api import StatisticsApi
from callkeeper_assets.api.troubles import Trouble
from callkeeper_assets.api.unified_api import UnifiedApi
from callkeeper_assets.api.windows import Window, window_of_day

Prepare = Callable[[DayOfCalls], DayOfCalls]


def _as_it_came(fetched: DayOfCalls) -> DayOfCalls:
    return fetched


def _day_of_calls(day: date, window: Window, read: ReadDay, errand: Errand) -> DayOfCalls:
    start, end = window.start, window.end
    rows = sorted(
        (epoch, call_id, raw)
        for call_id, (epoch, raw) in read.calls.items()
        if start <= epoch < end
    )
    return DayOfCalls(
        day=day,
        call_ids=[call_id for _, call_id, _ in rows],
        epochs=[epoch for epoch, _, _ in rows],
        payloads=[bytes(raw) for _, _, raw in rows],
        window_from=datetime.fromtimestamp(start, UTC),
        window_to=datetime.fromtimestamp(end, UTC),
        requests=errand.requests,
        fetched_at=errand.started_at,
        strays=tuple(sorted(call_id for call_id in read.strays if call_id not in read.calls)),
        unusable=tuple(read.calls.unusable.values()),
    )


class CallKeeperClient:
    """Reads one source. For several threads, but not to be pickled or forked; close it after use.

    Args:
        source: The source's name, for errors.
        api_key: The account's key; it is registered for redaction.
        api: Which of CallKeeper's APIs the key is for.
        role: Whose calls are asked for, where the API knows roles.
        base_url: The API's address; its usual one if left out.
        time_zone: Whose calendar days are fetched.
        parallel_days: Days fetched side by side, and so the most requests under way. That no other
            step uses the key meanwhile is the pool's matter (`assets.fetching.name_pool`).
        timeout_sec: How long the source may be silent; a whole answer may take five times as long.
        retry: How patiently failed requests are repeated.
        key_name: Where the key is configured, for the remedy in errors.
        check_answers_from: An answer of so many calls is checked once for having been cut.

    Every method raises AbortError (asking again does not help), RetryLaterError (it may) or
    BadDataError (the answer cannot be used).
    """

    def __init__(
        self,
        *,
        source: str,
        api_key: str,
        time_zone: ZoneInfo,
        api: ApiName = "callkeeper",
        role: Role = "own",
        base_url: str | None = None,
        parallel_days: int = 4,
        timeout_sec: float = 60.0,
        retry: RetryPolicy | None = None,
        key_name: str = "the source's api_key",
        check_answers_from: int = CHECK_ANSWERS_FROM,
    ) -> None:
        self._source = source
        self._key_name = key_name
        self._time_zone = time_zone
        self._parallel_days = parallel_days
        base_url = BASE_URLS[api] if base_url is None else base_url
        self._host = urlsplit(base_url).netloc
        key = api_key.strip()
        if not key:
            raise AbortError(f"source {source!r} has no API key: set {key_name}.")
        if urlsplit(base_url).scheme not in {"http", "https"} or not self._host:
            raise AbortError(
                f"source {source!r}: base_url {redact(base_url)!r} is no http(s) address; "
                f"an example is {BASE_URLS[api]!r}."
            )
        self._session = SourceSession(
            addresses=list_addresses(api, base_url),
            api_key=key,
            at_most=parallel_days,
            timeout_sec=timeout_sec,
            retry=retry or RetryPolicy(),
        )
        self._api: SourceApi = (
            UnifiedApi(self._session, source, key, role)
            if api == "ckct"
            else StatisticsApi(self._session, key, time_zone)
        )
        self._reader = DayReader(self._api, time_zone, check_answers_from)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """The API's address: once one has answered, that one."""
        return self._session.address

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get_user_info(self) -> UserInfo:
        """Ask whose the key is: the cheapest way to learn whether it is good."""
        errand = Errand(threading.Event())
        answer = self._api.ask_for_account(errand)
        if isinstance(answer, Trouble):
            raise self._error(answer, self._api.account_method, errand)
        return answer

    def probe(self, window: Window, time_zone: str = "UTC") -> Mapping[int, int]:
        """Ask for a window as it is, and return id and time of all that comes, wherever it lies.

        Args:
            window: What to ask for.
            time_zone: In which the bounds are written, where the API can be told (`has_zones`).
        """
        errand = Errand(threading.Event())
        answer = (
            self._api.ask_for_calls(window, errand, time_zone)
            if isinstance(self._api, StatisticsApi)
            else self._api.ask_for_calls(window, errand)
        )
        if isinstance(answer, Trouble):
            raise self._error(answer, self._describe(window), errand)
        return {call_id: epoch for call_id, (epoch, _) in answer.items()}

    @property
    def has_zones(self) -> bool:
        """Whether the API is told the zone of the bounds."""
        return isinstance(self._api, StatisticsApi)

    def fetch_day(self, day: date) -> DayOfCalls:
        """Fetch all calls of the day."""
        return self._fetch_day(day, threading.Event())

    def fetch_days(
        self, days: Iterable[date], prepare: Prepare = _as_it_came
    ) -> Generator[DayOfCalls]:
        """Fetch days side by side, from now on; they come in the order of `days`.

        Each is prepared in the thread that has fetched it, while others are under way. At most
        twice `parallel_days` days are held, the one last yielded included. Days before a failed one
        are yielded, then its error is raised; what else is under way is stopped then, and also when
        the generator is closed early.
        """
        fetching = self._fetch_days(days, prepare)
        # What the caller does before he takes the first day goes on beside it.
        next(fetching)
        return cast("Generator[DayOfCalls]", fetching)

    def _fetch_days(self, days: Iterable[date], prepare: Prepare) -> Generator[DayOfCalls | None]:
        """Yield None when the first days are under way, then the days."""
        stop = threading.Event()
        waiting = iter(days)
        under_way: deque[Future[DayOfCalls]] = deque()
        executor = ThreadPoolExecutor(self._parallel_days, f"callkeeper-{self._source}")

        def fetch(day: date) -> DayOfCalls:
            return prepare(self._fetch_day(day, stop))

        def top_up() -> None:
            if any(future.done() and future.exception() for future in under_way):
                return
            while len(under_way) < 2 * self._parallel_days - 1:
                day = next(waiting, None)
                if day is None:
                    return
                under_way.append(executor.submit(fetch, day))

        try:
            top_up()
            yield None
            while under_way:
                under_way[0].exception()  # wait, and top up before the caller's own work begins
                first = under_way.popleft()
                if first.exception() is None:
                    top_up()
                yield first.result()
                del first
        finally:
            stop.set()
            executor.shutdown(wait=True, cancel_futures=True)

    def _fetch_day(self, day: date, stop: threading.Event) -> DayOfCalls:
        errand = Errand(stop)
        window = window_of_day(day, self._time_zone)
        try:
            read = self._reader.read(window, errand)
        except WindowFailedError as failed:
            asked, trouble = failed.window, failed.trouble
        else:
            return _day_of_calls(day, window, read, errand)
        # Not in the block above: an error carries no context (see `errors`).
        raise self._error(trouble, self._describe(asked, f" for {day}"), errand)

    def _describe(self, window: Window, what_for: str = "") -> str:
        start, end = window.asked()
        return f"{self._api.calls_method}{what_for} ({start} to {end} UTC)"

    def _error(self, trouble: Trouble, asked: str, errand: Errand) -> CallKeeperError:
        remedy = trouble.remedy.replace("{key}", self._key_name)
        times = "" if errand.requests == 1 else f" (request {errand.requests})"
        return trouble.error(
            f"source {self._source!r}: {asked} at {self._host}: "
            f"{trouble.came_back}{times}. {remedy}."
        )
