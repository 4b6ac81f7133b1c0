"""What each method of both APIs answers: from a method's name and parameters to status and body."""

import datetime as dt
import json
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote

from callkeeper_assets.simulator.account import SimulatedAccount
from callkeeper_assets.simulator.generation import NEVER, day_bounds
from callkeeper_assets.simulator.rendering import ServedDay, StatusPair
from callkeeper_assets.simulator.scenery import FINAL
from callkeeper_assets.simulator.settings import KEY_FORM, OLD_KEY_FORM, AnswerSettings, FaultKind


@dataclass(frozen=True)
class Failure:
    """A failure as the documents name it."""

    status: int
    reason: str


class RequestFailedError(Exception):
    """A request fails in a documented way."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


UNAUTHORIZED_HOST: Final = Failure(401, "Unauthorized host!")
WRONG_KEY: Final = Failure(403, "Not the correct key api")
MISMATCHED: Final = Failure(404, "Mismatched request!")
UNKNOWN_METHOD: Final = Failure(405, "Unknown request method!")
WRONG_TYPE: Final = Failure(406, "Wrong data type!")
DATE_NOT_ARRAY: Final = Failure(406, "Date is not array")
TOO_FEW_VALUES: Final = Failure(409, "Not enough values")
UNKNOWN_USER: Final = Failure(412, "Unknown user")
KEY_LENGTH: Final = Failure(417, "Wrong length of the key")
KEY_NOT_HEX: Final = Failure(417, "The key is not hexadecimal")


def key_not_defined(name: str) -> Failure:
    """A parameter that every call of the method needs is not there at all."""
    return Failure(400, f"Key '{name}' is not defined!")


_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:?\d\d)?")
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d\d))?")
_MOST_OFFSET_HOURS: Final = 14


def parse_zone(text: str) -> dt.tzinfo:
    """An IANA name or `UTC+03:00` (an unescaped plus comes as a space); empty is UTC.

    Raises:
        RequestFailedError: `Wrong data type!`.
    """
    if not text.strip():
        return dt.UTC
    offset = _OFFSET.fullmatch(re.sub(r"^(UTC|GMT) ", r"\1+", text.strip()))
    if offset:
        sign, hours, minutes = offset.groups()
        delta = dt.timedelta(hours=int(hours), minutes=int(minutes or 0))
        if delta > dt.timedelta(hours=_MOST_OFFSET_HOURS):
            raise RequestFailedError(WRONG_TYPE)
        return dt.timezone(-delta if sign == "-" else delta)
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise RequestFailedError(WRONG_TYPE) from None


def _parse_moment(text: str, zone: dt.tzinfo, *, at_end_of_day: bool) -> int:
    try:
        if _DATE.fullmatch(text):
            day = dt.date.fromisoformat(text) + dt.timedelta(days=1 if at_end_of_day else 0)
            return int(dt.datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
        if _MOMENT.fullmatch(text):
            moment = dt.datetime.fromisoformat(text)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())
    except (ValueError, OverflowError):
        raise RequestFailedError(WRONG_TYPE) from None
    raise RequestFailedError(WRONG_TYPE)


def _parse_end(text: str, zone: dt.tzinfo, answers: AnswerSettings) -> int:
    end = _parse_moment(text, zone, at_end_of_day=answers.bare_date_to == "end")
    return end + 1 if answers.date_to == "inclusive" else end


def misread(start: int, end: int, answers: AnswerSettings) -> tuple[int, int]:
    """The window that a source answers which does not heed one bound, or both."""
    heeds_from = answers.bounds not in ("ignored", "only_to")
    heeds_to = answers.bounds not in ("ignored", "only_from")
    return start if heeds_from else 0, end if heeds_to else NEVER


def swap_day_and_month(text: str) -> str:
    """A date as who reads the day first understands it."""
    return re.sub(r"^(\d{4})-(\d\d)-(\d\d)", r"\1-\3-\2", text)


def parse_window(parameters: Mapping[str, str], answers: AnswerSettings) -> tuple[int, int]:
    """First second of the window and the first one after it; a bound left empty is open.

    Raises:
        RequestFailedError: `date` is missing, not an array, has only one of its values, or is not a
        date.
    """
    start, end = parameters.get("date[from]"), parameters.get("date[to]")
    zone = parse_zone(answers.bounds_zone or parameters.get("time_zone", ""))
    if start is None and end is None:
        if parameters.get("date"):
            raise RequestFailedError(DATE_NOT_ARRAY)
        if "date" in parameters or "date[]" in parameters:
            return 0, NEVER
        raise RequestFailedError(key_not_defined("date"))
    if start is None or end is None:
        raise RequestFailedError(TOO_FEW_VALUES)
    if answers.bounds == "day_first":
        start, end = swap_day_and_month(start.strip()), swap_day_and_month(end.strip())
    first = _parse_moment(start.strip(), zone, at_end_of_day=False) if start.strip() else 0
    last = _parse_end(end.strip(), zone, answers) if end.strip() else NEVER
    return misread(first, last, answers)


_KEY_LENGTHS: Final = (16, 32)
_FINAL_PAIRS: Final = frozenset((status.code, status.code2) for status in FINAL)
_REFUSALS: Final = {
    "unauthorized_host": UNAUTHORIZED_HOST,
    "wrong_key": WRONG_KEY,
    "unknown_user": UNKNOWN_USER,
}
_DAY_SEC: Final = 86400
_MOST_PARTS: Final = 64
# Only a cut needs the right answer: the other faults must not cost its making.
CUTS: Final = ("cut_body", "cut_connection")

RequestParameters = Mapping[str, str]
Slices = list[tuple[ServedDay, int, int]]


@dataclass(frozen=True)
class Answer:
    """One answer: as it should be sent, and the fault that a limit wants on it instead.

    The body is in parts because a day's megabytes go from memory to the socket without a copy.
    """

    status: int
    parts: tuple[bytes, ...]
    over_limit: FaultKind | None = None

    @property
    def size(self) -> int:
        """Length of the body, bytes."""
        return sum(map(len, self.parts))

    @property
    def body(self) -> bytes:
        """The whole body, copied together."""
        return b"".join(self.parts)


def render_failure(failure: Failure, answers: AnswerSettings) -> Answer:
    """A failure in the account's shape."""
    shown = {"status": "fail", "reason": failure.reason}
    body = json.dumps([shown] if answers.failure_shape == "list" else shown).encode()
    return Answer(200 if answers.failure_status == "ok" else failure.status, (body,))


def check_request(
    method: str,
    parameters: RequestParameters,
    find_account: Callable[[str], SimulatedAccount | None],
) -> SimulatedAccount:
    """The account that a request is for.

    Raises:
        RequestFailedError: no such method, no key, a key of a wrong form, an unknown key.
    """
    if method not in METHODS:
        raise RequestFailedError(MISMATCHED)
    key = parameters.get("api_key")
    if key is None:
        raise RequestFailedError(key_not_defined("api_key"))
    if len(key) not in _KEY_LENGTHS:
        raise RequestFailedError(KEY_LENGTH)
    if not (KEY_FORM.fullmatch(key) or OLD_KEY_FORM.fullmatch(key)):
        raise RequestFailedError(KEY_NOT_HEX)
    account = find_account(key)
    if account is None or account.settings.only_api == "ckct":
        raise RequestFailedError(WRONG_KEY)
    return account


def _render_calls(pieces: list[bytes], answers: AnswerSettings) -> Answer:
    if not pieces and answers.empty_period == "failure":
        failure = Failure(answers.empty_failure_status, NO_ROWS)
        return render_failure(failure, answers)
    if answers.success_shape == "list" or (not pieces and answers.empty_period == "bare_list"):
        head, tail = b"[", b"]"
    else:
        head, tail = b'{"result":[', b"]}"
    between = [part for piece in pieces for part in (b",", piece)][1:]
    # Many small parts would be as many system calls.
    parts = between if len(pieces) < _MOST_PARTS else [b"".join(between)]
    return Answer(200, (head, *parts, tail))


def _cut_silently(slices: Slices, answers: AnswerSettings) -> Slices:
    """The calls that are left of a window by a cap of which nothing is said."""
    if answers.silent_cap is None:
        return slices
    is_newest = answers.silent_cap_keeps == "newest"
    left = answers.silent_cap
    kept: Slices = []
    for day, low, high in reversed(slices) if is_newest else slices:
        count = min(left, high - low)
        left -= count
        if count:
            kept.append((day, high - count, high) if is_newest else (day, low, low + count))
    return kept[::-1] if is_newest else kept


def _answer_window(
    account: SimulatedAccount,
    parameters: RequestParameters,
    read: Callable[[Slices], Iterator[bytes]],
) -> Answer:
    answers = account.answers
    start, end = parse_window(parameters, answers)
    is_over = answers.max_days is not None and end - start > answers.max_days * _DAY_SEC + 1
    if is_over and answers.over_limit not in CUTS:
        return Answer(200, (), answers.over_limit)
    slices = _cut_silently(account.serve_days(start, end), answers)
    if answers.max_calls is not None:
        is_over |= sum(high - low for _, low, high in slices) > answers.max_calls
    answer = _render_calls(list(read(slices)), answers)
    return replace(answer, over_limit=answers.over_limit) if is_over else answer


def _read_all(slices: Slices) -> Iterator[bytes]:
    return (day.read(low, high) for day, low, high in slices)


def _answer_user_info(account: SimulatedAccount, _: RequestParameters) -> Answer:
    settings = account.settings
    user = {
        "name": settings.name,
        "paid_till": account.answers.paid_till.isoformat(timespec="seconds"),
        "minutes": "1250",
        "time_zone": settings.time_zone,
    }
    is_list = account.answers.user_info_shape == "list"
    body = json.dumps([user] if is_list else user, ensure_ascii=False).encode()
    return Answer(200, (body,))


def _answer_call_info(account: SimulatedAccount, parameters: RequestParameters) -> Answer:
    wanted = parameters.get("id_call")
    if wanted is None:
        raise RequestFailedError(key_not_defined("id_call"))
    if not wanted.strip():
        raise RequestFailedError(TOO_FEW_VALUES)
    if not re.fullmatch(r"\d{1,18}", wanted.strip(), re.ASCII):
        raise RequestFailedError(WRONG_TYPE)
    call = account.find_call(int(wanted))
    return _render_calls([call] if call else [], account.answers)


def _answer_calls_info(account: SimulatedAccount, parameters: RequestParameters) -> Answer:
    return _answer_window(account, parameters, _read_all)


def _answer_calls_of(
    account: SimulatedAccount, parameters: RequestParameters, wanted: frozenset[StatusPair]
) -> Answer:
    def read(slices: Slices) -> Iterator[bytes]:
        for day, low, high in slices:
            yield from day.read_with_status(low, high, wanted)

    return _answer_window(account, parameters, read)


def _answer_calls_completed(account: SimulatedAccount, parameters: RequestParameters) -> Answer:
    return _answer_calls_of(account, parameters, _FINAL_PAIRS)


def _answer_calls_by_status(account: SimulatedAccount, parameters: RequestParameters) -> Answer:
    statuses = parameters.get("statuses")
    if statuses is None:
        raise RequestFailedError(key_not_defined("statuses"))
    if not statuses.strip():
        raise RequestFailedError(TOO_FEW_VALUES)
    pairs = [pair.strip() for pair in statuses.split(",")]
    if not all(re.fullmatch(r"\d{1,3}/\d{1,3}", pair, re.ASCII) for pair in pairs):
        raise RequestFailedError(WRONG_TYPE)
    wanted = frozenset((int(pair.split("/")[0]), int(pair.split("/")[1])) for pair in pairs)
    return _answer_calls_of(account, parameters, wanted)


METHODS: Final[dict[str, Callable[[SimulatedAccount, RequestParameters], Answer]]] = {
    "getUserInfo": _answer_user_info,
    "getCallInfo": _answer_call_info,
    "getCallsInfo": _answer_calls_info,
    "getCallsCompleted": _answer_calls_completed,
    "getCallsByStatus": _answer_calls_by_status,
}


def answer_method(account: SimulatedAccount, method: str, parameters: RequestParameters) -> Answer:
    """What an account answers to one of `METHODS`, failures included."""
    if account.answers.refusal != "none":
        return render_failure(_REFUSALS[account.answers.refusal], account.answers)
    try:
        return METHODS[method](account, parameters)
    except RequestFailedError as error:
        return render_failure(error.failure, account.answers)


FOLDER: Final = "/api/"
PROGRAM: Final = "/api/index.php"
UNIFIED_METHODS: Final = ("get", "getByRole", "getWithRole")
NO_ROWS: Final = "No rows found"
PAST_THE_END: Final = "Incorrect page is set"
NOT_RECOGNIZED: Final = "User is not recognized"
WRONG_VERSION: Final = "It is wrong API version"
NO_ENTITY: Final = "Entity does not exist"
NO_METHOD: Final = "Method does not exist"
WRONG_DATE: Final = "{} date has wrong type. Use format YYYY-MM-DD or timestamp"
_INFO: Final[dict[str, Any]] = {
    "entities": {"call": list(UNIFIED_METHODS)},
    "types": ["json", "plain", "csv", "xml"],
    "versions": ["v1", "v2", "v3"],
}
_PARTS: Final = 8
_EPOCH: Final = re.compile(r"\d{1,12}", re.ASCII)


class UnifiedFailureError(Exception):
    """A request fails in a documented way; the text is the reason."""


def render_unified_failure(reason: str) -> Answer:
    """A failure as this API words it."""
    shown = {"inbound": {"error": reason}, "info": _INFO, "payload": []}
    return Answer(200, (json.dumps(shown).encode(),))


def _split(query: str) -> list[str]:
    parts = [unquote(part) for part in query.partition("&")[0].split("/")]
    return parts + [""] * (_PARTS - len(parts))


def read_key(query: str) -> str:
    """The key in a request; empty if there is none."""
    return _split(query)[2]


def find_refusal(path: str, query: str, answers: AnswerSettings) -> tuple[int, dict[str, str]]:
    """The status with which an address of the API is refused, and its headers; 0 if it is not.

    A folder's name without its slash leads to the folder, as web servers do.
    """
    place = "folder" if path == FOLDER else "index_php"
    if path == FOLDER.rstrip("/"):
        return 301, {"Location": f"{FOLDER}?{query}"}
    if answers.unified_address in ("both", place):
        return 0, {}
    if answers.unified_elsewhere == "redirect":
        return 301, {"Location": f"https://moved.invalid{path}?{query}"}
    return 404, {}


def check_unified_request(
    query: str, find_account: Callable[[str], SimulatedAccount | None]
) -> tuple[SimulatedAccount, str, list[str]]:
    """The account that a request is for, its method as `call/get`, and what the method is given.

    Raises:
        UnifiedFailureError: no such version, user, entity or method.
    """
    kind, version, key, entity, method, *rest = _split(query)
    if kind != "json" or version != "v3":
        raise UnifiedFailureError(WRONG_VERSION)
    account = find_account(key)
    is_known = account is not None and account.settings.only_api != "callkeeper"
    if account is None or not is_known or account.answers.refusal != "none":
        raise UnifiedFailureError(NOT_RECOGNIZED)
    if entity != "call":
        raise UnifiedFailureError(NO_ENTITY)
    if method not in UNIFIED_METHODS:
        raise UnifiedFailureError(NO_METHOD)
    return account, f"call/{method}", rest


def answer_unified(account: SimulatedAccount, rest: list[str]) -> Answer:
    """The page that is asked for."""
    try:
        return _answer_page(account, *rest[:3])
    except UnifiedFailureError as error:
        return render_unified_failure(str(error))


def _answer_page(account: SimulatedAccount, page: str, first: str, last: str) -> Answer:
    start, end = _read_bounds(account, first, last)
    if not _EPOCH.fullmatch(page):
        raise UnifiedFailureError(PAST_THE_END)
    account.unified.move(start, end)
    pieces = _cut_pieces_silently(account.unified.read(start, end), account.answers)
    number, length = int(page), account.answers.unified_page_length
    shown = pieces[number * length : (number + 1) * length]
    if not shown:
        raise UnifiedFailureError(PAST_THE_END if number else NO_ROWS)
    head = b'{"page":%d,' % number
    body = b"[" + b",".join(head + piece for piece in shown) + b"]"
    if account.answers.unified_shape == "wrapped":
        info = {
            "pageLength": length,
            "totalLength": len(pieces),
            "ofPages": -(-len(pieces) // length),
        }
        inbound = {"entity": "call", "method": "get", "page": number}
        start_text = f'{{"inbound":{json.dumps(inbound)},"info":{json.dumps(info)},"payload":'
        return Answer(200, (start_text.encode(), body, b"}"))
    return Answer(200, (body,))


def _cut_pieces_silently(pieces: list[bytes], answers: AnswerSettings) -> list[bytes]:
    """The calls that are left of a list by a cap of which nothing is said."""
    cap = answers.silent_cap
    if cap is None or len(pieces) <= cap:
        return pieces
    is_head = answers.silent_cap_keeps == answers.unified_order
    return pieces[:cap] if is_head else pieces[-cap:]


def _read_bounds(account: SimulatedAccount, first: str, last: str) -> tuple[int, int]:
    """First second of the window, and the first one after it."""
    answers = account.answers
    start = _read_bound(account, first, "Start", is_end_of_day=False)
    end = _read_bound(account, last, "End", is_end_of_day=answers.bare_date_to == "end")
    return misread(start, end + 1 if answers.date_to == "inclusive" else end, answers)


def _read_bound(account: SimulatedAccount, text: str, name: str, *, is_end_of_day: bool) -> int:
    answers = account.answers
    if _EPOCH.fullmatch(text):
        moment = dt.datetime.fromtimestamp(int(text), dt.UTC)
        zone = parse_zone(answers.bounds_zone)
        return int(moment.replace(tzinfo=zone).timestamp())
    if answers.bounds == "day_first":
        text = swap_day_and_month(text)
    try:
        if _DATE.fullmatch(text):
            return day_bounds(dt.date.fromisoformat(text), account.zone)[is_end_of_day]
    except ValueError:
        pass
    raise UnifiedFailureError(WRONG_DATE.format(name))
