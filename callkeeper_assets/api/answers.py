"""Bodies of answers: calls, account or failure, in every shape that the source is known to use.

A reader returns what was asked for, or the `Trouble` with it; only an empty list and the failure
`No rows found` are an empty period.
"""

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from callkeeper_assets.api.calls import KeyedCalls, UnusableCallError, key_calls
from callkeeper_assets.api.errors import BadDataError
from callkeeper_assets.api.records import UserInfo
from callkeeper_assets.api.redaction import excerpt
from callkeeper_assets.api.troubles import (
    Trouble,
    cut_trouble,
    is_about_size,
    page_trouble,
    size_trouble,
    trouble_of_reason,
)

_BOM: Final = b"\xef\xbb\xbf"
_NO_CALLS: Final = "no rows found"
_BEGINNING: Final = 2_000  # bytes of a body that is no JSON, of which an excerpt is shown
_REPORT: Final = "The source has changed its answer, or base_url is wrong: report it"


class _Result(msgspec.Struct):
    result: list[msgspec.Raw]
    status: Any = None
    reason: Any = None


_decode_result = msgspec.json.Decoder(_Result).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _failure_in(answer: object) -> str | None:
    """Return the failure's reason, if the decoded answer is one."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict) or "id" in answer:
        return None
    if "result" in answer and answer.get("status") != "fail":
        return _failure_in(answer["result"])
    for name in ("reason", "error", "message", "status"):
        if answer.get(name):
            return str(answer[name])
    return None


def _unusable(came_back: str, remedy: str = _REPORT) -> Trouble:
    return Trouble(BadDataError, f"HTTP 200 with {came_back}", remedy)


def _broken(body: bytes, problem: str) -> Trouble:
    return cut_trouble(f"HTTP 200 with {len(body)} bytes of JSON that is cut or broken ({problem})")


def _trouble_of_beginning(body: bytes) -> Trouble | None:
    """Judge a body that is not even the beginning of JSON."""
    beginning = body[:_BEGINNING].decode(errors="replace").strip()
    if beginning.startswith(("{", "[")):
        return None
    if not beginning:
        return cut_trouble("HTTP 200 with an empty body")
    came_back = f"HTTP 200 with no JSON but {excerpt(beginning)!r}"
    return size_trouble(came_back) if is_about_size(beginning) else page_trouble(came_back)


def _failed_or_unusable(body: bytes) -> KeyedCalls | Trouble:
    """Judge JSON that is not a list of calls."""
    try:
        answer = msgspec.json.decode(body)
    except ValueError as error:
        return _broken(body, str(error))
    reason = _failure_in(answer)
    if reason is None:
        names = sorted(answer)[:10] if isinstance(answer, dict) else []
        return _unusable(f"JSON that is neither calls nor a failure (names: {names})")
    if reason.strip(" .!").lower() == _NO_CALLS:
        return {}
    return trouble_of_reason(reason)


def read_reason(body: bytes) -> str:
    """Return the reason in the body of a failure, else the body's beginning."""
    try:
        reason = _failure_in(msgspec.json.decode(body))
    except ValueError:
        reason = None
    return reason if reason is not None else body[:_BEGINNING].decode(errors="replace")


def is_no_calls(status: int, body: bytes) -> bool:
    """Whether a refusal (a 4xx) is the source's way to say that the period is empty."""
    return 400 <= status < 500 and read_reason(body).strip(" .!").lower() == _NO_CALLS  # noqa: PLR2004


def _raw_calls(body: bytes) -> list[msgspec.Raw] | None:
    """Return the JSON text of each call; None if this is JSON, but no list of calls.

    Raises:
        msgspec.DecodeError: It is no JSON.
        UnicodeDecodeError: It is no UTF-8.
    """
    try:
        if body.lstrip()[:1] == b"[":
            raws = _decode_list(body)
        else:
            result = _decode_result(body)
            raws = result.result
            if result.status == "fail":
                return None
    except msgspec.ValidationError:
        return None
    if not body.isascii():
        body.decode()  # msgspec does not look into the strings of what it hands out raw
    if len(raws) == 1 and _failure_in(msgspec.json.decode(raws[0])) is not None:
        return None
    return raws


def read_calls(body: bytes) -> KeyedCalls | Trouble:
    """Read the answer of `getCallsInfo` and its kin."""
    body = body.removeprefix(_BOM)
    trouble = _trouble_of_beginning(body)
    if trouble is not None:
        return trouble
    try:
        raws = _raw_calls(body)
        return _failed_or_unusable(body) if raws is None else key_calls(raws)
    except UnusableCallError as error:
        return _unusable(f"a call that cannot be used: {excerpt(str(error))}")
    except UnicodeDecodeError as error:
        return _unusable(f"text that is not UTF-8, at byte {error.start}")
    except msgspec.DecodeError as error:
        return _broken(body, str(error))


def read_user_info(body: bytes, zone: ZoneInfo) -> UserInfo | Trouble:
    """Read the answer of `getUserInfo`. A time without an offset is taken to be in `zone`."""
    trouble = _trouble_of_beginning(body)
    if trouble is not None:
        return trouble
    try:
        answer = msgspec.json.decode(body.removeprefix(_BOM))
    except ValueError as error:
        return _broken(body, str(error))
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, dict) and isinstance(answer.get("result"), dict):
        answer = answer["result"]
    if not isinstance(answer, dict) or "paid_till" not in answer:
        reason = _failure_in(answer)
        return _unusable("no paid_till") if reason is None else trouble_of_reason(reason)
    paid_till = str(answer["paid_till"] or "").strip()
    if not paid_till:
        return UserInfo(paid_till=None)
    try:
        moment = datetime.fromisoformat(paid_till)
    except ValueError:
        return _unusable(f"paid_till {excerpt(paid_till)!r}, which is no time")
    return UserInfo(paid_till=moment if moment.tzinfo else moment.replace(tzinfo=zone))
