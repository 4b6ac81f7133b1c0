"""How each of CallKeeper's APIs is asked, and how its answers are read.

The statistics API of api.callkeeper.ru: one window is one answer, there are no pages. Its answers
come in several shapes (calls, account, failure, each as an object or as a list). The unified API of
migrated accounts (ckct): a window's calls page by page, which may change between pages and are read
until they agree (docs/decisions/0012); a failure comes with HTTP 200 as well, in two shapes.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from callkeeper_assets.callkeeper.bodies import (
    BOM,
    AnswerProblem,
    broken,
    check_beginning,
    check_other,
    find_failure,
    find_failure_of,
    is_empty_period,
    list_rows,
    part_garbled,
    problem_of_reason,
    size_problem,
    unusable,
)
from callkeeper_assets.callkeeper.keys import (
    KeyedCalls,
    key_calls,
    key_unified_calls,
    split_records,
)
from callkeeper_assets.callkeeper.records import CallRole, RetryLaterError, UserInfo
from callkeeper_assets.callkeeper.session import RequestContext, SourceSession
from callkeeper_assets.callkeeper.windows import SAFETY_SEC, Window, are_few, find_strays
from callkeeper_assets.local_time import open_zone
from callkeeper_assets.privacy.redaction import MASK, excerpt
from callkeeper_assets.raw.ids import read_call_id

_Read = TypeVar("_Read")

_OF_CALL = re.compile(rb"serviceType|universalId")

METHODS: Final[dict[CallRole, str]] = {
    "own": "get",
    "by_role": "getByRole",
    "with_role": "getWithRole",
}
PAGE_LENGTH: Final = 1_000
_MOST_READINGS: Final = 6
# Any window shows whether the key is good; one that has no calls yet costs nothing.
_TRIED_WINDOW: Final = Window(86_400, 86_460)


class _Result(msgspec.Struct):
    result: list[msgspec.Raw] | dict[str, msgspec.Raw]
    status: Any = None
    reason: Any = None


_decode_result = msgspec.json.Decoder(_Result).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# As MySQL has no date, and as PHP writes that one.
_NO_DATE = ("0000-00-00", "-0001-11-30")


def _read_whole_or_split(
    body: bytes, name: bytes, read: Callable[[bytes], _Read]
) -> _Read | list[msgspec.Raw] | AnswerProblem:
    """Return what `read` makes of an answer, or the records alone of one that is no JSON.

    Args:
        body: The answer.
        name: Of the list of records in it.
        read: Raises `UnicodeDecodeError`, and msgspec's `DecodeError` of what is no JSON.
    """
    problem = check_beginning(body)
    if problem is not None:
        return problem
    try:
        return read(body)
    except UnicodeDecodeError as error:
        return unusable(f"text that is not UTF-8, at byte {error.start}")
    except (msgspec.DecodeError, RecursionError) as error:
        records = split_records(body, name)
        return broken(body, str(error)) if records is None else records


def _raw_calls(body: bytes) -> list[msgspec.Raw] | None:
    """Return the JSON text of each call; None if this is JSON, but no list of calls.

    Raises:
        msgspec.DecodeError: It is no JSON.
        UnicodeDecodeError: It is no UTF-8, and not in its calls.
    """
    raws: list[msgspec.Raw] | None
    try:
        if body.lstrip()[:1] == b"[":
            raws = _decode_list(body)
        else:
            result = _decode_result(body)
            raws = None if result.status == "fail" else list_rows(result.result)
    except msgspec.ValidationError:
        raws = _list_numbered(body)
    if raws and len(raws) == 1 and find_failure_of(raws[0]) is not None:
        return None
    return raws


def _list_numbered(body: bytes) -> list[msgspec.Raw] | None:
    """Return the records of a bare list that PHP has written as an object of numbers."""
    try:
        return list_rows(_decode_object(body))
    except msgspec.ValidationError:
        return None


def read_calls(body: bytes) -> KeyedCalls | AnswerProblem:
    """Read the answer of `getCallsInfo` and its kin."""
    body = body.removeprefix(BOM)
    raws = _read_whole_or_split(body, b"result", _raw_calls)
    if isinstance(raws, AnswerProblem):
        return raws
    if raws is None:
        return check_other(body) or KeyedCalls()
    raws, garbled = part_garbled(body, raws)
    return key_calls(raws).with_unusable(garbled)


def read_user_info(body: bytes, zone: ZoneInfo) -> UserInfo | AnswerProblem:
    """Read the answer of `getUserInfo`. A time without an offset is taken to be in `zone`."""
    problem = check_beginning(body)
    if problem is not None:
        return problem
    try:
        answer = msgspec.json.decode(body.removeprefix(BOM))
    except ValueError as error:
        return broken(body, str(error))
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, dict) and isinstance(answer.get("result"), dict):
        answer = answer["result"]
    if not isinstance(answer, dict) or "paid_till" not in answer:
        reason = find_failure(answer)
        return unusable("no paid_till") if reason is None else problem_of_reason(reason)
    paid_till = str(answer["paid_till"] or "").strip()
    if not paid_till.strip("0") or paid_till.startswith(_NO_DATE):
        return UserInfo(paid_till=None)
    try:
        moment = datetime.fromisoformat(paid_till)
    except ValueError:
        return unusable(f"paid_till {excerpt(paid_till)!r}, which is no time")
    return UserInfo(paid_till=moment if moment.tzinfo else moment.replace(tzinfo=zone))


class StatisticsApi:
    """Asks one account's session."""

    calls_method = "getCallsInfo"
    account_method = "getUserInfo"
    largest_answer: int | None = None
    has_zones = True
    has_client_times = False

    def __init__(self, session: SourceSession, api_key: str, time_zone: ZoneInfo) -> None:
        self._session = session
        self._api_key = api_key
        self._time_zone = time_zone

    def ask_for_calls(
        self, window: Window, context: RequestContext, time_zone: str = "UTC"
    ) -> KeyedCalls | AnswerProblem:
        """Ask for the calls of a window; more may come, of a second on either side.

        The window is sent in UTC, unless it is to be checked whether the source heeds `time_zone`.
        """
        start, end = window.asked(open_zone(time_zone))
        parameters = {
            "api_key": self._api_key,
            "date[from]": start,
            "date[to]": end,
            "time_zone": time_zone,
        }
        return self._session.ask(
            f"/{self.calls_method}",
            parameters,
            read_calls,
            context,
            can_be_halved=window.can_be_halved,
        )

    def ask_for_account(self, context: RequestContext) -> UserInfo | AnswerProblem:
        """Ask whose the key is."""
        return self._session.ask(
            f"/{self.account_method}",
            {"api_key": self._api_key},
            lambda body: read_user_info(body, self._time_zone),
            context,
        )


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; without rows it is past the list's end.

    Attributes:
        calls: By id, and beside them what cannot be used.
        rows: How many there were, the same call twice counted twice.
        total: Of the whole list; None where the source does not say.
    """

    calls: KeyedCalls
    rows: int
    total: int | None


class _Wrapped(msgspec.Struct):
    payload: list[msgspec.Raw] | dict[str, msgspec.Raw]
    inbound: Any = None
    info: Any = None


_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def build_mask(source: str) -> "re.Pattern[bytes]":
    """Return what finds the secret part of a source's webhook address in an answer."""
    name = re.escape(source.encode())
    # Host and path are typed apart in the cabinet: slashes come doubled.
    slash = rb"(?:\\?/|%2[Ff])+"
    return re.compile(rb"(webhooks" + slash + name + slash + rb")[^\"\\/?#]+")


def mask_token(body: bytes, mask: "re.Pattern[bytes]") -> bytes:
    """Take the token out of the addresses in `hooks`: nothing that is kept may hold it."""
    return mask.sub(rb"\1" + MASK.encode(), body)


def _read_rows(body: bytes) -> tuple[list[msgspec.Raw], int | None] | AnswerProblem:
    """Return each call's JSON text, and the total.

    Raises:
        msgspec.DecodeError: It is no JSON.
        UnicodeDecodeError: It is no UTF-8, and not in its calls.
    """
    raws: list[msgspec.Raw] | None
    total = None
    try:
        if body.lstrip()[:1] == b"[":
            raws = _decode_list(body)
        else:
            wrapped = _decode_wrapped(body)
            reason = find_failure({"inbound": wrapped.inbound})
            if reason is not None:
                return ([], None) if is_empty_period(reason) else problem_of_reason(reason)
            raws = list_rows(wrapped.payload)
            if isinstance(wrapped.info, dict):
                total = read_call_id(wrapped.info.get("totalLength"))
    except msgspec.ValidationError:
        raws = None
    if raws is None:
        return check_other(body) or ([], None)
    if len(raws) == 1:
        reason = find_failure_of(raws[0])
        # A call has a `status`, too.
        if reason is not None and not _OF_CALL.search(raws[0]):
            return problem_of_reason(reason)
    return raws, total


def read_page(body: bytes) -> Page | AnswerProblem:
    """Read one page."""
    body = body.removeprefix(BOM)
    found = _read_whole_or_split(body, b"payload", _read_rows)
    if isinstance(found, AnswerProblem):
        return found
    raws, total = (found, None) if isinstance(found, list) else found
    whole, garbled = part_garbled(body, raws)
    return Page(key_unified_calls(whole).with_unusable(garbled), len(raws), total)


class UnifiedApi:
    """Asks one account's session; for several threads.

    Args:
        session: Of the account.
        source: The source's name, by which its webhooks' address is known.
        api_key: The key, which is a part of each address.
        role: Whose calls are asked for.
    """

    largest_answer: int | None = PAGE_LENGTH
    has_zones = False
    has_client_times = True

    def __init__(self, session: SourceSession, source: str, api_key: str, role: CallRole) -> None:
        self._session = session
        self._mask = build_mask(source)
        self._prefix = f"?json/v3/{quote(api_key, safe='')}/call/{METHODS[role]}"
        self._longest_page = 0
        self.calls_method = self.account_method = f"call/{METHODS[role]}"

    def ask_for_calls(
        self, window: Window, context: RequestContext, _time_zone: str = "UTC"
    ) -> KeyedCalls | AnswerProblem:
        """Ask for the calls of a window; more may come, of a second on either side."""
        page = self._ask_for_page(window, 0, context, can_be_halved=window.can_be_halved)
        if isinstance(page, AnswerProblem):
            return page
        is_whole = self._is_whole(window, page, context)
        if isinstance(is_whole, AnswerProblem):
            return is_whole
        if is_whole:
            return page.calls
        strays = find_strays(window, page.calls)
        if not are_few(strays, page.calls):
            # Halves would bring as much, and a minute all pages: the caller decides about this one.
            return page.calls
        if window.can_be_halved:
            return size_problem(f"a page of {page.rows} calls, and more on the next one")
        return self._read_list_twice(window, context)

    def ask_for_account(self, context: RequestContext) -> UserInfo | AnswerProblem:
        """Ask whether the key is good; this API does not say until when the account is paid."""
        page = self._ask_for_page(_TRIED_WINDOW, 0, context)
        return page if isinstance(page, AnswerProblem) else UserInfo(paid_till=None)

    def _ask_for_page(
        self, window: Window, number: int, context: RequestContext, *, can_be_halved: bool = False
    ) -> Page | AnswerProblem:
        start, end = window.start - SAFETY_SEC, window.end + SAFETY_SEC
        return self._session.ask(
            f"{self._prefix}/{number}/{start}/{end}",
            {},
            lambda body: read_page(mask_token(body, self._mask)),
            context,
            can_be_halved=can_be_halved,
        )

    def _is_whole(
        self, window: Window, page: Page, context: RequestContext
    ) -> bool | AnswerProblem:
        """Whether the first page is the whole list.

        Should pages ever be shorter than documented, calls must not be lost for it: a page is known
        to be short when there has been a longer one. Else the next page is asked for.
        """
        if page.total is not None:
            return page.total == page.rows
        longest = self._longest_page
        self._longest_page = max(longest, page.rows)
        if page.rows >= PAGE_LENGTH:
            return False
        if page.rows < longest or not page.rows:
            return True
        after = self._ask_for_page(window, 1, context)
        return after if isinstance(after, AnswerProblem) else not after.rows

    def _read_list_twice(
        self, window: Window, context: RequestContext
    ) -> KeyedCalls | AnswerProblem:
        """Read all pages until two readings agree: no page then changed between its two answers.

        All of them were so at the moment between the end of the first reading and the beginning of
        the second, for a call does not come, go and come back.
        """
        before = None
        for _ in range(_MOST_READINGS):
            pages = self._read_list(window, context)
            if isinstance(pages, AnswerProblem):
                return pages
            now = [page.calls.list_records() for page in pages]
            rows = sum(page.rows for page in pages)
            if now == before and all(page.total in {None, rows} for page in pages):
                return _join(pages)
            before = now
        return AnswerProblem(
            RetryLaterError,
            f"a list of calls that was another one each time, {_MOST_READINGS} times",
            "Try again later",
        )

    def _read_list(self, window: Window, context: RequestContext) -> list[Page] | AnswerProblem:
        pages: list[Page] = []
        seen: set[int | bytes] = set()
        while True:
            page = self._ask_for_page(window, len(pages), context)
            if isinstance(page, AnswerProblem):
                return page
            # One that knows no end would begin anew.
            records = page.calls.list_records()
            if records <= seen:
                return pages
            pages.append(page)
            seen |= records


def _join(pages: Iterable[Page]) -> KeyedCalls:
    calls = KeyedCalls()
    for page in pages:
        calls.add(page.calls)
    return calls
