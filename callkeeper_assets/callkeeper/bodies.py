"""Bodies of answers, of either API: what is no JSON, what is a failure, what to do about it.

Each failure means one of: retry, ask for less, give up. Texts that a source sends are shown without
keys and phone numbers.
"""

import re
import struct
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Final

import msgspec

from callkeeper_assets.callkeeper.keys import OF_NO_DAY, KeyedCalls, UnusableRecord
from callkeeper_assets.callkeeper.records import (
    AbortError,
    CallKeeperError,
    RetryLaterError,
    UnusableAnswerError,
)
from callkeeper_assets.language import mark, tr
from callkeeper_assets.privacy.redaction import excerpt

ALL_RETRIES: Final = 1_000  # as many as the retry policy has
REQUEST_TIMEOUT: Final = 408
TOO_LARGE: Final = 413
TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500
OK: Final = 200

_REPORT: Final = mark("The request is not what the source expects: check base_url, else report it")
_REMEDIES: Final = {
    400: _REPORT,
    401: mark("Add the address of this machine to the allowed hosts in CallKeeper's cabinet"),
    403: mark("Check the key in {key}: the source does not know it"),
    404: mark(
        "The request is not what the source expects: check base_url, else report it; the source "
        "knows no such request"
    ),
    405: mark(
        "The request is not what the source expects: check base_url, else report it; the source "
        "knows no such method"
    ),
    406: _REPORT,
    409: _REPORT,
    412: mark("Check the key in {key}: the source knows no account with it"),
    417: mark(
        "Check the key in {key}: it must be 32 hexadecimal characters (older keys: 16 letters and "
        "digits)"
    ),
}
_ABOUT_ACCESS: Final = {401, 403, 412, 417}
_STATUS_OF_REASON: Final = (
    (re.compile(r"unauthorized host", re.IGNORECASE), 401),
    (re.compile(r"not the correct key|user is not recognized", re.IGNORECASE), 403),
    (re.compile(r"mismatched request|wrong api version", re.IGNORECASE), 404),
    (re.compile(r"unknown request method|(entity|method) does not exist", re.IGNORECASE), 405),
    (re.compile(r"wrong data type|date is not array|has wrong type", re.IGNORECASE), 406),
    (re.compile(r"not enough values", re.IGNORECASE), 409),
    (re.compile(r"unknown user", re.IGNORECASE), 412),
    (re.compile(r"\bkey\b.*\b(length|hex|long|short)", re.IGNORECASE), 417),
    (re.compile(r"is not defined", re.IGNORECASE), 400),
)
# The last two are how PHP dies of an answer that is too large.
_SIZE: Final = re.compile(
    r"too (large|big|long|wide)|too many (rows|records|calls|results)"
    r"|(period|window|interval|range)\b.*\b(exceed|limit|max|more than)"
    r"|allowed memory size|maximum execution time",
    re.IGNORECASE,
)
_PASSING: Final = re.compile(
    r"too many requests|rate limit|later|temporar|\binternal\b|timed? ?out|overload|maintenance"
    r"|busy",
    re.IGNORECASE,
)

BOM: Final = b"\xef\xbb\xbf"
NOT_UTF_8: Final = "its text is not UTF-8"
# The second is what the unified API says of a page past the last one, and of an empty list.
_NO_CALLS: Final = ("no rows found", "incorrect page is set")
_MOST_SAID: Final = 3
# Bytes of an answer that Arrow checks sooner.
_LONG: Final = 100_000
_BEGINNING: Final = 2_000  # bytes of a body that is no JSON, of which an excerpt is shown
_REPORT_CHANGE: Final = "The source has changed its answer, or base_url is wrong: report it"


@dataclass(frozen=True, slots=True)
class AnswerProblem:
    """Why an answer cannot be used, and what to do about it.

    Attributes:
        error: What to raise when nothing more can be done.
        came_back: What came back, redacted.
        remedy: What the person on duty does; `{key}` stands for where the key is configured.
        retries: How often to ask again at most.
        retries_before_halving: The same while the window can be halved, which is what is done then;
            None if a smaller window would not help.
        pause_sec: How long the source asks to wait.
    """

    error: type[CallKeeperError]
    came_back: str
    remedy: str
    retries: int = 0
    retries_before_halving: int | None = None
    pause_sec: float | None = None


def size_problem(came_back: str) -> AnswerProblem:
    """The window is too large for the source."""
    remedy = mark("The source refuses even a minute of calls: ask CallKeeper's support")
    return AnswerProblem(AbortError, came_back, remedy, retries_before_halving=0)


def cut_problem(came_back: str) -> AnswerProblem:
    """The answer ends early. Large answers do, and so do unlucky ones: hence one retry first."""
    remedy = mark("Try again later; if it lasts, ask CallKeeper's support")
    return AnswerProblem(
        RetryLaterError, came_back, remedy, retries=ALL_RETRIES, retries_before_halving=1
    )


def timeout_problem(came_back: str) -> AnswerProblem:
    """No answer in time: the same window again would cost the same time again, so halve at once."""
    remedy = mark("Try again later; if it lasts, lower parallel_days in the source's defs.yaml")
    return AnswerProblem(RetryLaterError, came_back, remedy, retries=1, retries_before_halving=0)


def connection_problem(came_back: str) -> AnswerProblem:
    """No connection at all."""
    remedy = mark("Check base_url, the network and the proxy; try again later")
    return AnswerProblem(RetryLaterError, came_back, remedy, retries=ALL_RETRIES)


def page_problem(came_back: str) -> AnswerProblem:
    """Something for people where JSON was due, mostly a page about maintenance."""
    remedy = mark("If that is maintenance, try again later; if not, check base_url")
    return AnswerProblem(RetryLaterError, came_back, remedy, retries=3)


def problem_of_status(status: int, said: str, pause_sec: float | None) -> AnswerProblem:
    """Return the problem of an answer whose status is not 200.

    Args:
        status: The HTTP status.
        said: The reason in the body, or the beginning of a body that has none.
        pause_sec: From `Retry-After`.
    """
    came_back = f"HTTP {status} {excerpt(said)!r}"
    if status in {REQUEST_TIMEOUT, TOO_LARGE}:
        return size_problem(came_back)
    if status == TOO_MANY_REQUESTS:
        remedy = mark("Try again later, or lower the number of days fetched side by side")
        return AnswerProblem(RetryLaterError, came_back, remedy, ALL_RETRIES, pause_sec=pause_sec)
    if status >= SERVER_ERROR:
        # One that says when to come back is overloaded; a smaller window is nothing to it.
        halve = 2 if pause_sec is None else None
        remedy = mark("Try again later; if it lasts, ask CallKeeper's support")
        return AnswerProblem(RetryLaterError, came_back, remedy, ALL_RETRIES, halve, pause_sec)
    if status not in _ABOUT_ACCESS and _SIZE.search(said):
        return size_problem(came_back)
    return AnswerProblem(AbortError, came_back, _REMEDIES.get(status, mark("Check base_url")))


def problem_of_reason(reason: str) -> AnswerProblem:
    """Return the problem of a failure that came with HTTP 200: only its text says what it is."""
    came_back = tr("HTTP 200 with the failure {said!r}", said=excerpt(reason))
    for pattern, status in _STATUS_OF_REASON:
        if pattern.search(reason):
            return AnswerProblem(AbortError, came_back, _REMEDIES[status])
    if _SIZE.search(reason):
        return size_problem(came_back)
    if _PASSING.search(reason):
        return AnswerProblem(RetryLaterError, came_back, mark("Try again later"), ALL_RETRIES)
    remedy = mark("The source's documentation has no such failure: ask CallKeeper's support")
    return AnswerProblem(AbortError, came_back, remedy)


def is_about_size(text: str) -> bool:
    """Whether a text that is no JSON says that the answer was too large to make."""
    return _SIZE.search(text) is not None


def find_failure(answer: object) -> str | None:
    """Return the failure's reason, if the decoded answer is one."""
    if isinstance(answer, dict) and len(answer) == 1 and next(iter(answer)).isdecimal():
        answer = list(answer.values())  # see `list_rows`
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict) or "id" in answer:
        return None
    if "result" in answer and answer.get("status") != "fail":
        return find_failure(answer["result"])
    inbound = answer.get("inbound")
    if isinstance(inbound, dict) and inbound.get("error"):
        return str(inbound["error"])
    for name in ("reason", "error", "message", "status"):
        if answer.get(name):
            return str(answer[name])
    return None


def is_empty_period(reason: str) -> bool:
    """Whether a failure's reason says that there are no calls, or no more of them."""
    return reason.strip(" .!").lower() in _NO_CALLS


def unusable(came_back: str, remedy: str = _REPORT_CHANGE) -> AnswerProblem:
    """Return the problem of an answer that can be read, but not used."""
    return AnswerProblem(
        UnusableAnswerError, tr("HTTP 200 with {came_back}", came_back=came_back), remedy
    )


def check_usable(calls: KeyedCalls) -> AnswerProblem | None:
    """Check the records of a day: most of them have to be calls.

    What lies elsewhere is a call, though not of what was asked for.
    """
    reasons = Counter(one.reason for one in calls.unusable.values() if one.reason not in OF_NO_DAY)
    count = reasons.total()
    if count <= len(calls):
        return None
    said = "; ".join(f"{number} × {reason}" for reason, number in reasons.most_common(_MOST_SAID))
    return unusable(
        tr(
            "{records} records, of which {unusable} cannot be used: {said}",
            records=count + len(calls),
            unusable=count,
            said=said,
        )
    )


def broken(body: bytes, problem: str) -> AnswerProblem:
    """Return the problem of JSON that cannot be read to its end."""
    return cut_problem(
        tr(
            "HTTP 200 with {count} bytes of JSON that is cut or broken ({problem})",
            count=len(body),
            problem=problem,
        )
    )


def check_beginning(body: bytes) -> AnswerProblem | None:
    """Return the problem of a body that does not begin as JSON; None if it does."""
    beginning = body[:_BEGINNING].decode(errors="replace").strip()
    if beginning.startswith(("{", "[")):
        return None
    if not beginning:
        return cut_problem(tr("HTTP 200 with an empty body"))
    came_back = tr("HTTP 200 with no JSON but {said!r}", said=excerpt(beginning))
    return size_problem(came_back) if is_about_size(beginning) else page_problem(came_back)


def check_other(body: bytes) -> AnswerProblem | None:
    """Return the problem of JSON that is not a list of calls; None if it says "no calls"."""
    try:
        answer = msgspec.json.decode(body)
    except ValueError as error:
        return broken(body, str(error))
    reason = find_failure(answer)
    if reason is None:
        names = sorted(answer)[:10] if isinstance(answer, dict) else []
        return unusable(
            tr("JSON that is neither calls nor a failure (names: {names})", names=names)
        )
    return None if is_empty_period(reason) else problem_of_reason(reason)


def read_reason(body: bytes) -> str:
    """Return the reason in the body of a failure, else the body's beginning."""
    try:
        reason = find_failure(msgspec.json.decode(body))
    except ValueError:
        reason = None
    return reason if reason is not None else body[:_BEGINNING].decode(errors="replace")


def is_of_unified_api(body: bytes) -> bool:
    """Whether the body is one that only the unified API sends, whatever its status was."""
    try:
        answer = msgspec.json.decode(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and "inbound" in answer


def is_no_calls(status: int, body: bytes) -> bool:
    """Whether a refusal (a 4xx) is the source's way to say that the period is empty."""
    return 400 <= status < 500 and is_empty_period(read_reason(body))  # noqa: PLR2004


def list_rows(rows: list[msgspec.Raw] | dict[str, msgspec.Raw]) -> list[msgspec.Raw] | None:
    """Return the records of a list, or of an object in its place; None if that is no list.

    PHP writes a list of which some members were taken out as an object of their numbers.
    """
    if isinstance(rows, list):
        return rows
    return list(rows.values()) if rows and all(name.isdecimal() for name in rows) else None


def find_failure_of(record: msgspec.Raw) -> str | None:
    """As `find_failure`, of an answer's only record; one that cannot be read is no failure."""
    try:
        return find_failure(msgspec.json.decode(record))
    except (ValueError, RecursionError):
        return None


def part_garbled(
    body: bytes, raws: list[msgspec.Raw]
) -> tuple[list[msgspec.Raw], list[UnusableRecord]]:
    """Part the records from those that are not UTF-8, kept with � for each such byte.

    msgspec passes them: it does not look into the strings of what it hands out raw.
    """
    if body.isascii() or _is_text(body):
        return raws, []
    whole = [raw for raw in raws if _is_text(bytes(raw))]
    garbled = [
        UnusableRecord(text.decode("utf-8", "replace").encode(), NOT_UTF_8)
        for text in map(bytes, raws)
        if not _is_text(text)
    ]
    return whole, garbled


def _is_text(text: bytes) -> bool:
    # A loader has pyarrow; a command that asks for a day need not wait 0.3 s for it and pandas.
    if len(text) >= _LONG and "pyarrow" in sys.modules:
        return _is_long_text(text)
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_long_text(text: bytes) -> bool:
    """As `_is_text`, in a sixth of the time: nothing is decoded."""
    import pyarrow as pa  # noqa: PLC0415 -- as above

    ends = pa.py_buffer(struct.pack("=qq", 0, len(text)))
    column = pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(text)])
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
