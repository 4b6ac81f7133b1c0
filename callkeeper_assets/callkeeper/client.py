"""The client of a source, whichever of CallKeeper's APIs it has: the account, the calls of days.

A day is read by windows: what is refused is halved, and an answer that cannot be true (outside of
what was asked, cut at a size, empty where calls were) is asked for once more or refused in words.
Raises the errors of `callkeeper.records`.
"""

import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, Protocol, Self, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from callkeeper_assets.callkeeper.apis import StatisticsApi, UnifiedApi
from callkeeper_assets.callkeeper.bodies import AnswerProblem, check_usable
from callkeeper_assets.callkeeper.keys import ORDERED_HERE, KeyedCalls, UnusableRecord
from callkeeper_assets.callkeeper.records import (
    BASE_URLS,
    CHECK_ANSWERS_FROM,
    AbortError,
    ApiName,
    CallKeeperError,
    CallRole,
    UnusableAnswerError,
    UserInfo,
    list_addresses,
)
from callkeeper_assets.callkeeper.session import RequestContext, RetryPolicy, SourceSession
from callkeeper_assets.callkeeper.windows import (
    SAFETY_SEC,
    AnswerSizes,
    LongestWindow,
    Window,
    are_elsewhere,
    are_few,
    compare_local_times,
    find_strays,
    is_of_other_time,
    minute_around,
    near_cap,
    problem_of_strays,
    window_of_day,
)
from callkeeper_assets.language import look_up, tr
from callkeeper_assets.privacy.redaction import redact
from callkeeper_assets.raw.store import Day, DayDetails, UnusableRow, build_calls

_CUT_MINUTE: Final = (
    "The source cuts even a minute of calls without saying so: ask CallKeeper's support"
)


class SourceApi(Protocol):
    """What an API has to offer; all that differs between them is behind it.

    Attributes:
        calls_method: What calls are asked of, for errors; as `account_method`.
        largest_answer: Calls in one answer at most; None where there is no limit.
        has_zones: Whether a request names the time zone of its bounds.
        has_client_times: Whether calls have the time that their clients' clocks showed.
    """

    calls_method: str
    account_method: str
    largest_answer: int | None
    has_zones: bool
    has_client_times: bool

    def ask_for_calls(
        self, window: Window, context: RequestContext, time_zone: str = "UTC", /
    ) -> KeyedCalls | AnswerProblem:
        """Return a window's calls by id, a second more on either side allowed.

        `time_zone`: in which the bounds are written, where they are in one.
        """

    def ask_for_account(self, context: RequestContext) -> UserInfo | AnswerProblem:
        """Return what the source says of the account."""


class WindowFailedError(Exception):
    """A window could not be read, nor its halves; the client turns it into an error of its own."""

    def __init__(self, window: Window, problem: AnswerProblem) -> None:
        super().__init__(problem.came_back)
        self.window = window
        self.problem = problem


@dataclass(slots=True)
class ReadDay:
    """What is read of a day.

    Attributes:
        calls: By id, each of which lies in the window that it came for, or a second beside it; with
            what is no call.
        strays: Id and time of calls that came, but lie elsewhere.
    """

    calls: KeyedCalls = field(default_factory=KeyedCalls)
    strays: dict[int, int] = field(default_factory=dict)


class DayReader:
    """Reads the days of one source, and learns how it wants to be asked; for several threads.

    Args:
        api: The source's.
        time_zone: The source's, for what is said of a shift.
        check_from: An answer of so many calls is checked once for having been cut.
    """

    def __init__(self, api: SourceApi, time_zone: ZoneInfo, check_from: int) -> None:
        self.api = api
        self.time_zone = time_zone
        self.longest_window = LongestWindow()
        self.sizes = AnswerSizes(check_from)

    def read(self, whole: Window, context: RequestContext) -> ReadDay:
        """Read all calls of a day's window.

        Raises:
            WindowFailedError: Some of it cannot be read, or cannot be believed.
        """
        reading = _Reading(self, context, whole)
        if whole.seconds:
            reading.day.calls = reading.read(whole)
        problem = check_usable(reading.day.calls)
        if problem is not None:
            raise WindowFailedError(whole, problem)
        limits = [each for each in (self.api.largest_answer, self.sizes.largest) if each]
        # Twice the window has twice the calls: that it would be refused is known without asking.
        if not reading.was_refused and all(2 * reading.most < limit for limit in limits):
            self.longest_window.went_well()
        return reading.day


class _Reading:
    """One day, while it is read."""

    def __init__(self, reader: DayReader, context: RequestContext, whole: Window) -> None:
        self._reader = reader
        self._context = context
        self._whole = whole
        self.day = ReadDay()
        self.most = 0
        self.was_refused = False
        # Answers of a check that found a cap: they are not asked for twice.
        self._parts: dict[Window, KeyedCalls] = {}

    def read(self, window: Window) -> KeyedCalls:
        longest = self._reader.longest_window.seconds
        if window.can_be_halved and window.seconds > longest:
            return self._read_all(window.pieces(longest))
        calls = self._ask(window)
        if calls is None:
            return self._read_halves(window)
        return self._make_sure(window, calls)

    def _read_all(self, windows: list[Window]) -> KeyedCalls:
        calls = KeyedCalls()
        for window in windows:
            calls.add(self.read(window))
        return calls

    def _read_halves(self, window: Window) -> KeyedCalls:
        return self._read_all(window.pieces(window.half_sec))

    def _refuse(self, window: Window) -> None:
        self.was_refused = True
        self._reader.longest_window.refused(window)

    def _ask(self, window: Window) -> KeyedCalls | None:
        """Ask for a window; None if it has to be halved."""
        if window in self._parts:
            return self._parts.pop(window)
        answer = self._reader.api.ask_for_calls(window, self._context)
        if isinstance(answer, AnswerProblem):
            if answer.retries_before_halving is None or not window.can_be_halved:
                raise WindowFailedError(window, answer)
            self._refuse(window)
            return None
        self.most = max(self.most, len(answer))
        answer.set_derived_aside(self._whole.start - SAFETY_SEC, self._whole.end + SAFETY_SEC)
        strays = find_strays(window, answer)
        if strays:
            self._check_strays(window, answer, strays)
            self.day.strays |= strays
        return answer

    def _check_strays(self, window: Window, calls: KeyedCalls, strays: dict[int, int]) -> None:
        """Take strays out that may be an accident: few, and the dates are heeded all the same.

        What is of this day stays, whichever of its windows it came with. What the source chose by
        another time may come with no other window: it is set aside.
        """
        is_found = self._finds_farthest(window, calls, strays) if are_few(strays, calls) else None
        if is_found is None:
            epochs = [epoch for epoch, _ in calls.values()]
            problem = problem_of_strays(window, epochs, strays, self._reader.time_zone)
            raise WindowFailedError(window, problem)
        for call_id, epoch in strays.items():
            if not self._whole.start <= epoch < self._whole.end:
                raw = calls.take_out(call_id)
                if not is_found and is_of_other_time(raw, window):
                    calls.set_aside(raw, ORDERED_HERE, call_id)

    def _finds_farthest(
        self, window: Window, calls: KeyedCalls, strays: dict[int, int]
    ) -> bool | None:
        """Whether the source has the farthest stray at its own time; None if it heeds no dates."""

        def distance(call_id: int) -> int:
            return max(window.start - strays[call_id], strays[call_id] - window.end)

        farthest = max(strays, key=distance)
        minute = minute_around(strays[farthest])
        found = self._reader.api.ask_for_calls(minute, self._context)
        if isinstance(found, AnswerProblem):
            raise WindowFailedError(minute, found)
        epoch, raw = calls[farthest]
        # Where nothing else came, what comes with any window is all that the source ever sends.
        known = strays if len(calls) > len(strays) else {farthest: epoch}
        if are_elsewhere(found, minute, known):
            return None
        if farthest in found:
            return True
        return False if is_of_other_time(raw, window) else None

    def _make_sure(self, window: Window, calls: KeyedCalls) -> KeyedCalls:
        """Return the window's calls, whether or not this answer was cut."""
        sizes = self._reader.sizes
        if sizes.believes(len(calls)):
            return calls
        if not window.can_be_halved:
            if sizes.cap is None or len(calls) < sizes.cap:
                return calls
            came_back = tr(
                "{count} calls, where {cap} are the most that an answer has",
                count=len(calls),
                cap=sizes.cap,
            )
            raise WindowFailedError(
                window, AnswerProblem(UnusableAnswerError, came_back, _CUT_MINUTE)
            )
        with sizes.checking:
            # Who waited here may know by now.
            if sizes.believes(len(calls)):
                return calls
            if sizes.cap is None and self._is_whole(window, calls):
                return calls
        self._refuse(window)
        return self._read_halves(window)

    def _is_whole(self, window: Window, calls: KeyedCalls) -> bool:
        """Hold an answer against its halves, and add what they have; say what came of it."""
        parts = KeyedCalls()
        halves = window.pieces(window.half_sec)
        for half in halves:
            found = self._ask(half)
            if found is None:
                return False
            # A half of the same size proves nothing: it may have been cut to the same calls.
            is_as_large = len(found) >= near_cap(len(calls))
            is_whole = not (is_as_large and half.can_be_halved) or self._is_whole(half, found)
            self._parts[half] = found
            if not is_whole:
                return False
            parts.add(found)
        new = [
            call_id
            for call_id, (epoch, _) in parts.items()
            if call_id not in calls and window.start <= epoch < window.end
        ]
        if new:
            # They may have come meanwhile: then they are in the next answer.
            again = self._ask(window)
            if again is None:
                return False
            if any(call_id not in again for call_id in new):
                self._reader.sizes.was_cut(len(again))
                return False
            calls.add(again)
        calls.add(parts)
        for half in halves:
            del self._parts[half]
        self._reader.sizes.was_whole(len(calls))
        return True


def _calls_inside(window: Window, read: ReadDay) -> list[tuple[int, int, msgspec.Raw]]:
    """Return time, id and JSON text of the day's calls, by time, then id."""
    return sorted(
        (epoch, call_id, raw)
        for call_id, (epoch, raw) in read.calls.items()
        if window.start <= epoch < window.end
    )


class Passage(Protocol):
    """What a day's records pass in the thread that has fetched them: what leaves may be written."""

    def pass_calls(
        self, day: date, call_ids: Sequence[int], payloads: Sequence[bytes], /
    ) -> Sequence[bytes]:
        """Return the calls' JSON texts, parallel to the ids, as they may be written."""

    def pass_unusable(self, records: Sequence[UnusableRecord], /) -> Sequence[UnusableRow]:
        """Return what is no call as it may be written."""


class _Unchanged:
    """Lets everything through as it came."""

    def pass_calls(
        self, _day: date, _call_ids: Sequence[int], payloads: Sequence[bytes]
    ) -> Sequence[bytes]:
        return payloads

    def pass_unusable(self, records: Sequence[UnusableRecord]) -> Sequence[UnusableRow]:
        return [
            UnusableRow(-1 if one.call_id is None else one.call_id, one.payload, one.reason)
            for one in records
        ]


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
            step uses the key meanwhile is the pool's matter (`assets.raw_calls.name_pool`).
        timeout_sec: How long the source may be silent; a whole answer may take five times as long.
        retry: How patiently failed requests are repeated.
        key_name: Where the key is configured, for the remedy in errors.
        check_answers_from: An answer of so many calls is checked once for having been cut.

    Every method raises AbortError (asking again does not help), RetryLaterError (it may) or
    UnusableAnswerError (the answer cannot be used).
    """

    def __init__(
        self,
        *,
        source: str,
        api_key: str,
        time_zone: ZoneInfo,
        api: ApiName = "callkeeper",
        role: CallRole = "own",
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
            raise AbortError(
                tr(
                    "source {source!r} has no API key: set {key_name}.",
                    source=source,
                    key_name=key_name,
                )
            )
        if urlsplit(base_url).scheme not in {"http", "https"} or not self._host:
            raise AbortError(
                tr(
                    "source {source!r}: base_url {address!r} is no http(s) address; an example is "
                    "{example!r}.",
                    source=source,
                    address=redact(base_url),
                    example=BASE_URLS[api],
                )
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
        context = RequestContext(threading.Event())
        answer = self._api.ask_for_account(context)
        if isinstance(answer, AnswerProblem):
            raise self._error(answer, self._api.account_method, context)
        return answer

    def probe(self, window: Window, time_zone: str = "UTC") -> Mapping[int, int]:
        """Ask for a window as it is, and return id and time of all that comes, wherever it lies.

        Args:
            window: What to ask for.
            time_zone: In which the bounds are written, where the API takes one (`has_zones`).
        """
        context = RequestContext(threading.Event())
        answer = self._api.ask_for_calls(window, context, time_zone)
        if isinstance(answer, AnswerProblem):
            raise self._error(answer, self._describe(window), context)
        return {call_id: epoch for call_id, (epoch, _) in answer.items()}

    @property
    def has_zones(self) -> bool:
        """Whether the request names the zone of the bounds."""
        return self._api.has_zones

    def pick_call(self, day: date) -> tuple[int, int] | None:
        """Return id and epoch seconds of a call in the middle of the day; None if it has none."""
        window, read, _ = self._read_day(day, threading.Event())
        calls = _calls_inside(window, read)
        if not calls:
            return None
        epoch, call_id, _ = calls[len(calls) // 2]
        return call_id, epoch

    def fetch_days(self, days: Iterable[date], passage: Passage | None = None) -> Generator[Day]:
        """Fetch days side by side, from now on; they come in the order of `days`.

        Each is put together in the thread that has fetched it, while others are under way. At most
        twice `parallel_days` days are held, the one last yielded included. Days before a failed one
        are yielded, then its error is raised; what else is under way is stopped then, and also when
        the generator is closed early.

        Args:
            days: In the source's time zone.
            passage: What the records pass; nothing is changed if left out.
        """
        fetching = self._fetch_days(days, passage or _Unchanged())
        # What the caller does before he takes the first day goes on beside it.
        next(fetching)
        return cast("Generator[Day]", fetching)

    def _fetch_days(self, days: Iterable[date], passage: Passage) -> Generator[Day | None]:
        """Yield None when the first days are under way, then the days."""
        stop = threading.Event()
        waiting = iter(days)
        under_way: deque[Future[Day]] = deque()
        executor = ThreadPoolExecutor(self._parallel_days, f"callkeeper-{self._source}")

        def fetch(day: date) -> Day:
            return self._fetch_day(day, passage, stop)

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

    def _fetch_day(self, day: date, passage: Passage, stop: threading.Event) -> Day:
        window, read, context = self._read_day(day, stop)
        rows = _calls_inside(window, read)
        call_ids, epochs = [call_id for _, call_id, _ in rows], [epoch for epoch, _, _ in rows]
        payloads = passage.pass_calls(day, call_ids, [bytes(raw) for _, _, raw in rows])
        records = tuple(read.calls.unusable.values())
        details = DayDetails(
            source=self._source,
            day=day,
            time_zone=self._time_zone.key,
            window_from=datetime.fromtimestamp(window.start, UTC),
            window_to=datetime.fromtimestamp(window.end, UTC),
            requests=context.requests,
            fetched_at=context.started_at,
            run_id="",
            strays=tuple(sorted(call_id for call_id in read.strays if call_id not in read.calls)),
            unusable=tuple(Counter(one.reason for one in records).items()),
            local_times=(
                compare_local_times(epochs, payloads) if self._api.has_client_times else None
            ),
        )
        table = build_calls(call_ids, epochs, payloads)
        return Day(day, table, details, passage.pass_unusable(records))

    def _read_day(self, day: date, stop: threading.Event) -> tuple[Window, ReadDay, RequestContext]:
        context = RequestContext(stop)
        window = window_of_day(day, self._time_zone)
        try:
            read = self._reader.read(window, context)
        except WindowFailedError as failed:
            asked, problem = failed.window, failed.problem
        else:
            return window, read, context
        # Not in the block above: an error carries no context (see `callkeeper.records`).
        raise self._error(problem, self._describe(asked, tr(" for {day}", day=day)), context)

    def _describe(self, window: Window, what_for: str = "") -> str:
        start, end = window.asked()
        return f"{self._api.calls_method}{what_for} ({start} to {end} UTC)"

    def _error(
        self, problem: AnswerProblem, asked: str, context: RequestContext
    ) -> CallKeeperError:
        remedy = look_up(problem.remedy).replace("{key}", self._key_name)
        times = (
            "" if context.requests == 1 else tr(" (request {requests})", requests=context.requests)
        )
        return problem.error(
            tr(
                "source {source!r}: {asked} at {host}: {came_back}{times}. {remedy}.",
                source=self._source,
                asked=asked,
                host=self._host,
                came_back=problem.came_back,
                times=times,
                remedy=remedy,
            )
        )
