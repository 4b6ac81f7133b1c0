"""What is wrong with one answer, and what that means: retry, halve, give up.

`Trouble` is a value, not an exception: it is built where exceptions of requests and msgspec are
caught, and raised as a `CallKeeperError` elsewhere, so that no error carries theirs as its context.
The table of statuses and reasons is that of CallKeeper's documentation of its statistics API; the
unified API's reasons, which come without a status, are sorted in.
"""

import re
from dataclasses import dataclass
from typing import Final

from callkeeper_assets.api.errors import AbortError, CallKeeperError, RetryLaterError
from callkeeper_assets.api.redaction import excerpt

ALL_RETRIES: Final = 1_000  # as many as the retry policy has
REQUEST_TIMEOUT: Final = 408
TOO_LARGE: Final = 413
TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500
OK: Final = 200

_CHECK_KEY: Final = "Check the key in {key}"
_REPORT: Final = "The request is not what the source expects: check base_url, else report it"
_REMEDIES: Final = {
    400: _REPORT,
    401: "Add the address of this machine to the allowed hosts in CallKeeper's cabinet",
    403: f"{_CHECK_KEY}: the source does not know it",
    404: f"{_REPORT}; the source knows no such request",
    405: f"{_REPORT}; the source knows no such method",
    406: _REPORT,
    409: _REPORT,
    412: f"{_CHECK_KEY}: the source knows no account with it",
    417: f"{_CHECK_KEY}: it must be 32 hexadecimal characters (older keys: 16 letters and digits)",
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


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an answer is none, and what to do.

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


def size_trouble(came_back: str) -> Trouble:
    """The window is too large for the source."""
    remedy = "The source refuses even a minute of calls: ask CallKeeper's support"
    return Trouble(AbortError, came_back, remedy, retries_before_halving=0)


def cut_trouble(came_back: str) -> Trouble:
    """The answer ends early. Large answers do, and so do unlucky ones: hence one retry first."""
    remedy = "Try again later; if it lasts, ask CallKeeper's support"
    return Trouble(
        RetryLaterError, came_back, remedy, retries=ALL_RETRIES, retries_before_halving=1
    )


def timeout_trouble(came_back: str) -> Trouble:
    """No answer in time: the same window again would cost the same time again, so halve at once."""
    remedy = "Try again later; if it lasts, lower parallel_days in the source's defs.yaml"
    return Trouble(RetryLaterError, came_back, remedy, retries=1, retries_before_halving=0)


def connection_trouble(came_back: str) -> Trouble:
    """No connection at all."""
    remedy = "Check base_url, the network and the proxy; try again later"
    return Trouble(RetryLaterError, came_back, remedy, retries=ALL_RETRIES)


def page_trouble(came_back: str) -> Trouble:
    """Something for people where JSON was due, mostly a page about maintenance."""
    remedy = "If that is maintenance, try again later; if not, check base_url"
    return Trouble(RetryLaterError, came_back, remedy, retries=3)


def trouble_of_status(status: int, said: str, pause_sec: float | None) -> Trouble:
    """Judge an answer whose status is not 200.

    Args:
        status: The HTTP status.
        said: The reason in the body, or the beginning of a body that has none.
        pause_sec: From `Retry-After`.
    """
    came_back = f"HTTP {status} {excerpt(said)!r}"
    if status in {REQUEST_TIMEOUT, TOO_LARGE}:
        return size_trouble(came_back)
    if status == TOO_MANY_REQUESTS:
        remedy = "Try again later, or lower the number of days fetched side by side"
        return Trouble(RetryLaterError, came_back, remedy, ALL_RETRIES, pause_sec=pause_sec)
    if status >= SERVER_ERROR:
        # One that says when to come back is overloaded; a smaller window is nothing to it.
        halve = 2 if pause_sec is None else None
        remedy = "Try again later; if it lasts, ask CallKeeper's support"
        return Trouble(RetryLaterError, came_back, remedy, ALL_RETRIES, halve, pause_sec)
    if status not in _ABOUT_ACCESS and _SIZE.search(said):
        return size_trouble(came_back)
    return Trouble(AbortError, came_back, _REMEDIES.get(status, "Check base_url"))


def trouble_of_reason(reason: str) -> Trouble:
    """Judge a failure that came with HTTP 200: only its text says what it is."""
    came_back = f"HTTP 200 with the failure {excerpt(reason)!r}"
    for pattern, status in _STATUS_OF_REASON:
        if pattern.search(reason):
            return Trouble(AbortError, came_back, _REMEDIES[status])
    if _SIZE.search(reason):
        return size_trouble(came_back)
    if _PASSING.search(reason):
        return Trouble(RetryLaterError, came_back, "Try again later", ALL_RETRIES)
    remedy = "The source's documentation has no such failure: ask CallKeeper's support"
    return Trouble(AbortError, came_back, remedy)


def is_about_size(text: str) -> bool:
    """Whether a text that is no JSON says that the answer was too large to make."""
    return _SIZE.search(text) is not None
