"""The statistics API of api.callkeeper.ru: one window is one answer, there are no pages.

Its answers come in several shapes (calls, account, failure, each as an object or as a list); all of
them are read here.
"""

from datetime import datetime
from typing import Any
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
    list_rows,
    part_garbled,
    problem_of_reason,
    unusable,
)
from callkeeper_assets.callkeeper.keys import KeyedCalls, key_calls, split_records
from callkeeper_assets.callkeeper.records import UserInfo
from callkeeper_assets.callkeeper.session import RequestContext, SourceSession
from callkeeper_assets.callkeeper.windows import Window
from callkeeper_assets.privacy.redaction import excerpt


class _Result(msgspec.Struct):
    result: list[msgspec.Raw] | dict[str, msgspec.Raw]
    status: Any = None
    reason: Any = None


_decode_result = msgspec.json.Decoder(_Result).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# As MySQL has no date, and as PHP writes that one.
_NO_DATE = ("0000-00-00", "-0001-11-30")


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
    problem = check_beginning(body)
    if problem is not None:
        return problem
    try:
        raws = _raw_calls(body)
    except UnicodeDecodeError as error:
        return unusable(f"text that is not UTF-8, at byte {error.start}")
    except (msgspec.DecodeError, RecursionError) as error:
        raws = split_records(body, b"result")
        if raws is None:
            return broken(body, str(error))
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
        start, end = window.asked(ZoneInfo(time_zone))
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
