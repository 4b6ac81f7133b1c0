"""What the unified API answers: a page of calls, or a failure, which comes with HTTP 200 as well.

A request is a path in the query: `json/v3/<key>/call/get/<page>/<from>/<to>`.
"""

import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

from callkeeper_assets.simulator.account import Account
from callkeeper_assets.simulator.answers import Answer
from callkeeper_assets.simulator.generation import day_bounds
from callkeeper_assets.simulator.settings import AnswerSettings
from callkeeper_assets.simulator.windows import misread, parse_zone, swap_day_and_month

FOLDER: Final = "/api/"
PROGRAM: Final = "/api/index.php"
METHODS: Final = ("get", "getByRole", "getWithRole")
NO_ROWS: Final = "No rows found"
PAST_THE_END: Final = "Incorrect page is set"
NOT_RECOGNIZED: Final = "User is not recognized"
WRONG_VERSION: Final = "It is wrong API version"
NO_ENTITY: Final = "Entity does not exist"
NO_METHOD: Final = "Method does not exist"
WRONG_DATE: Final = "{} date has wrong type. Use format YYYY-MM-DD or timestamp"
_INFO: Final[dict[str, Any]] = {
    "entities": {"call": list(METHODS)},
    "types": ["json", "plain", "csv", "xml"],
    "versions": ["v1", "v2", "v3"],
}
_PARTS: Final = 8
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
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
    query: str, find_account: Callable[[str], Account | None]
) -> tuple[Account, str, list[str]]:
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
    if method not in METHODS:
        raise UnifiedFailureError(NO_METHOD)
    return account, f"call/{method}", rest


def answer_unified(account: Account, rest: list[str]) -> Answer:
    """The page that is asked for."""
    try:
        return _answer_page(account, *rest[:3])
    except UnifiedFailureError as error:
        return render_unified_failure(str(error))


def _answer_page(account: Account, page: str, first: str, last: str) -> Answer:
    start, end = _read_bounds(account, first, last)
    if not _EPOCH.fullmatch(page):
        raise UnifiedFailureError(PAST_THE_END)
    account.unified.move(start, end)
    pieces = _cut_silently(account.unified.read(start, end), account.answers)
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


def _cut_silently(pieces: list[bytes], answers: AnswerSettings) -> list[bytes]:
    """The calls that are left of a list by a cap of which nothing is said."""
    cap = answers.silent_cap
    if cap is None or len(pieces) <= cap:
        return pieces
    is_head = answers.silent_cap_keeps == answers.unified_order
    return pieces[:cap] if is_head else pieces[-cap:]


def _read_bounds(account: Account, first: str, last: str) -> tuple[int, int]:
    """First second of the window, and the first one after it."""
    answers = account.answers
    start = _read_bound(account, first, "Start", is_end_of_day=False)
    end = _read_bound(account, last, "End", is_end_of_day=answers.bare_date_to == "end")
    return misread(start, end + 1 if answers.date_to == "inclusive" else end, answers)


def _read_bound(account: Account, text: str, name: str, *, is_end_of_day: bool) -> int:
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
