"""What each API method answers: from a method's name and its parameters to status and body.

The shapes of success, failure and emptiness follow the account's `AnswerSettings`. Faults of the
wire are not here but in `server.py`: this is what a healthy CallKeeper says.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from callkeeper_assets.simulator import failures
from callkeeper_assets.simulator.account import Account
from callkeeper_assets.simulator.days import ServedDay, StatusPair
from callkeeper_assets.simulator.settings import (
    KEY_FORM,
    OLD_KEY_FORM,
    AnswerSettings,
    FaultKind,
)
from callkeeper_assets.simulator.statuses import FINAL
from callkeeper_assets.simulator.windows import parse_window

_KEY_LENGTHS: Final = (16, 32)
_FINAL_PAIRS: Final = frozenset((status.code, status.code2) for status in FINAL)
_REFUSALS: Final = {
    "unauthorized_host": failures.UNAUTHORIZED_HOST,
    "wrong_key": failures.WRONG_KEY,
    "unknown_user": failures.UNKNOWN_USER,
}
_DAY_SEC: Final = 86400
_MOST_PARTS: Final = 64
# Only a cut needs the right answer: the other faults must not cost its making.
CUTS: Final = ("cut_body", "cut_connection")

Parameters = Mapping[str, str]
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


def render_failure(failure: failures.Failure, answers: AnswerSettings) -> Answer:
    """A failure in the account's shape."""
    shown = {"status": "fail", "reason": failure.reason}
    body = json.dumps([shown] if answers.failure_shape == "list" else shown).encode()
    return Answer(200 if answers.failure_status == "ok" else failure.status, (body,))


def check_request(
    method: str, parameters: Parameters, find_account: Callable[[str], Account | None]
) -> Account:
    """The account that a request is for.

    Raises:
        RequestFailedError: no such method, no key, a key of a wrong form, an unknown key.
    """
    if method not in METHODS:
        raise failures.RequestFailedError(failures.MISMATCHED)
    key = parameters.get("api_key")
    if key is None:
        raise failures.RequestFailedError(failures.key_not_defined("api_key"))
    if len(key) not in _KEY_LENGTHS:
        raise failures.RequestFailedError(failures.KEY_LENGTH)
    if not (KEY_FORM.fullmatch(key) or OLD_KEY_FORM.fullmatch(key)):
        raise failures.RequestFailedError(failures.KEY_NOT_HEX)
    account = find_account(key)
    if account is None or account.settings.only_api == "ckct":
        raise failures.RequestFailedError(failures.WRONG_KEY)
    return account


def _render_calls(pieces: list[bytes], answers: AnswerSettings) -> Answer:
    if not pieces and answers.empty_period == "failure":
        failure = failures.Failure(answers.empty_failure_status, failures.NO_ROWS)
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
    account: Account, parameters: Parameters, read: Callable[[Slices], Iterator[bytes]]
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


def _answer_user_info(account: Account, _: Parameters) -> Answer:
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


def _answer_call_info(account: Account, parameters: Parameters) -> Answer:
    wanted = parameters.get("id_call")
    if wanted is None:
        raise failures.RequestFailedError(failures.key_not_defined("id_call"))
    if not wanted.strip():
        raise failures.RequestFailedError(failures.TOO_FEW_VALUES)
    if not re.fullmatch(r"\d{1,18}", wanted.strip(), re.ASCII):
        raise failures.RequestFailedError(failures.WRONG_TYPE)
    call = account.find_call(int(wanted))
    return _render_calls([call] if call else [], account.answers)


def _answer_calls_info(account: Account, parameters: Parameters) -> Answer:
    return _answer_window(account, parameters, _read_all)


def _answer_calls_of(
    account: Account, parameters: Parameters, wanted: frozenset[StatusPair]
) -> Answer:
    def read(slices: Slices) -> Iterator[bytes]:
        for day, low, high in slices:
            yield from day.read_with_status(low, high, wanted)

    return _answer_window(account, parameters, read)


def _answer_calls_completed(account: Account, parameters: Parameters) -> Answer:
    return _answer_calls_of(account, parameters, _FINAL_PAIRS)


def _answer_calls_by_status(account: Account, parameters: Parameters) -> Answer:
    statuses = parameters.get("statuses")
    if statuses is None:
        raise failures.RequestFailedError(failures.key_not_defined("statuses"))
    if not statuses.strip():
        raise failures.RequestFailedError(failures.TOO_FEW_VALUES)
    pairs = [pair.strip() for pair in statuses.split(",")]
    if not all(re.fullmatch(r"\d{1,3}/\d{1,3}", pair, re.ASCII) for pair in pairs):
        raise failures.RequestFailedError(failures.WRONG_TYPE)
    wanted = frozenset((int(pair.split("/")[0]), int(pair.split("/")[1])) for pair in pairs)
    return _answer_calls_of(account, parameters, wanted)


METHODS: Final[dict[str, Callable[[Account, Parameters], Answer]]] = {
    "getUserInfo": _answer_user_info,
    "getCallInfo": _answer_call_info,
    "getCallsInfo": _answer_calls_info,
    "getCallsCompleted": _answer_calls_completed,
    "getCallsByStatus": _answer_calls_by_status,
}


def answer_method(account: Account, method: str, parameters: Parameters) -> Answer:
    """What an account answers to one of `METHODS`, failures included."""
    if account.answers.refusal != "none":
        return render_failure(_REFUSALS[account.answers.refusal], account.answers)
    try:
        return METHODS[method](account, parameters)
    except failures.RequestFailedError as error:
        return render_failure(error.failure, account.answers)
