"""The client of a source, whichever of CallKeeper's APIs it has: the account, the calls of days.

A day is asked for as one window where the source answers that, in halves where it does not. Days
are fetched side by side and handed out in order, a bounded number of them held at a time.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Protocol, Self, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from callkeeper_assets.api.bodies import judge_usable
from callkeeper_assets.api.calls import KeyedCalls
from callkeeper_assets.api.errors import AbortError, CallKeeperError
from callkeeper_assets.api.names import BASE_URLS, ApiName, Role
from callkeeper_assets.api.records import DayOfCalls, UserInfo
from callkeeper_assets.api.redaction import redact
from callkeeper_assets.api.session import Errand, RetryPolicy, SourceSession
from callkeeper_assets.api.statistics_api import StatisticsApi
from callkeeper_assets.api.troubles import Trouble
from callkeeper_assets.api.unified_api import UnifiedApi
from callkeeper_assets.api.windows import SAFETY_SEC, LongestWindow, Window, window_of_day


class SourceApi(Protocol):
    """What an API has to offer; all that differs between them is behind it.

    Attributes:
        calls_method: What calls are asked of, for errors; as `account_method`.
        largest_answer: Calls in one answer at most; None where there is no limit.
    """

    calls_method: str
    account_method: str
    largest_answer: int | None

    def ask_for_calls(self, window: Window, errand: Errand) -> KeyedCalls | Trouble:
        """Return a window's calls by id, a second more on either side allowed."""

    def ask_for_account(self, errand: Errand) -> UserInfo | Trouble:
        """Return what the source says of the account."""


def _day_of_calls(day: date, window: Window, calls: KeyedCalls, errand: Errand) -> DayOfCalls:
    start, end = window.start, window.end
    rows = sorted(
        (epoch, call_id, raw) for call_id, (epoch, raw) in calls.items() if start <= epoch < end
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
        unusable=tuple(calls.unusable.values()),
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
        parallel_days: Days fetched side by side; also the most requests under way with this key.
        timeout_sec: How long the source may be silent; a whole answer may take five times as long.
        retry: How patiently failed requests are repeated.
        key_name: Where the key is configured, for the remedy in errors.

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
    ) -> None:
        self._source = source
        self._key_name = key_name
        self._time_zone = time_zone
        self._parallel_days = parallel_days
        self._longest_window = LongestWindow()
        base_url = BASE_URLS[api] if base_url is None else base_url
        self._host = urlsplit(base_url).netloc
        if not api_key.strip():
            raise AbortError(f"source {source!r} has no API key: set {key_name}.")
        if urlsplit(base_url).scheme not in {"http", "https"} or not self._host:
            raise AbortError(
                f"source {source!r}: base_url {redact(base_url)!r} is no http(s) address; "
                f"an example is {BASE_URLS[api]!r}."
            )
        self._session = SourceSession(
            base_url=base_url,
            api_key=api_key.strip(),
            at_most=parallel_days,
            timeout_sec=timeout_sec,
            retry=retry or RetryPolicy(),
        )
        key = api_key.strip()
        self._api: SourceApi = (
            UnifiedApi(self._session, source, key, role)
            if api == "ckct"
            else StatisticsApi(self._session, key, time_zone)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def fetch_day(self, day: date) -> DayOfCalls:
        """Fetch all calls of the day."""
        return self._fetch_day(day, threading.Event())

    def fetch_days(self, days: Iterable[date]) -> Generator[DayOfCalls]:
        """Fetch days side by side, from now on; they come in the order of `days`.

        At most twice `parallel_days` days are held, the one last yielded included. Days before a
        failed one are yielded, then its error is raised; what else is under way is stopped then,
        and also when the generator is closed early.
        """
        fetching = self._fetch_days(days)
        # What the caller does before he takes the first day goes on beside it.
        next(fetching)
        return cast("Generator[DayOfCalls]", fetching)

    def _fetch_days(self, days: Iterable[date]) -> Generator[DayOfCalls | None]:
        """Yield None when the first days are under way, then the days."""
        stop = threading.Event()
        waiting = iter(days)
        under_way: deque[Future[DayOfCalls]] = deque()
        executor = ThreadPoolExecutor(self._parallel_days, f"callkeeper-{self._source}")

        def top_up() -> None:
            if any(future.done() and future.exception() for future in under_way):
                return
            while len(under_way) < 2 * self._parallel_days - 1:
                day = next(waiting, None)
                if day is None:
                    return
                under_way.append(executor.submit(self._fetch_day, day, stop))

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
        whole = window_of_day(day, self._time_zone)
        calls = KeyedCalls()
        most = 0
        todo = [whole] if whole.seconds else []
        was_refused = False
        while todo:
            window = todo.pop()
            if window.can_be_halved and window.seconds > self._longest_window.seconds:
                todo.extend(reversed(window.pieces(self._longest_window.seconds)))
                continue
            answer = self._api.ask_for_calls(window, errand)
            if not isinstance(answer, Trouble):
                answer.set_derived_aside(whole.start - SAFETY_SEC, whole.end + SAFETY_SEC)
                calls.add(answer)
                most = max(most, len(answer))
                continue
            if answer.retries_before_halving is None or not window.can_be_halved:
                start, end = window.asked()
                asked = f"{self._api.calls_method} for {day} ({start} to {end} UTC)"
                raise self._error(answer, asked, errand)
            was_refused = True
            self._longest_window.refused(window)
            todo.extend(reversed(window.pieces(window.half_sec)))
        trouble = judge_usable(calls)
        if trouble is not None:
            raise self._error(trouble, f"{self._api.calls_method} for {day}", errand)
        limit = self._api.largest_answer
        # Twice the window has twice the calls: that it would be refused is known without asking.
        if not was_refused and (limit is None or 2 * most < limit):
            self._longest_window.went_well()
        return _day_of_calls(day, whole, calls, errand)

    def _error(self, trouble: Trouble, asked: str, errand: Errand) -> CallKeeperError:
        remedy = trouble.remedy.replace("{key}", self._key_name)
        times = "" if errand.requests == 1 else f" (request {errand.requests})"
        return trouble.error(
            f"source {self._source!r}: {asked} at {self._host}: "
            f"{trouble.came_back}{times}. {remedy}."
        )
